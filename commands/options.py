"""The options that commands share, each declared once, and the types of their values."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import click

from ..store.registry import NAMES

MAX_NUMBERS, MAX_SEEDS = 1000, 100_000

Decorator = Callable[[Callable[..., None]], Callable[..., None]]


class Numbers(click.ParamType):  # type: ignore[type-arg] # generic only in newer clicks
    """Numbers separated by commas: 0,2,4.5."""

    name = "numbers"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[float, ...]:
        try:
            numbers = tuple(float(part) for part in str(value).split(","))
        except ValueError:
            self.fail(f"{value!r} is not a number, or numbers separated by commas", param, ctx)
        if len(numbers) > MAX_NUMBERS:
            self.fail(f"it holds more than {MAX_NUMBERS:,} numbers; ask for fewer", param, ctx)
        return numbers


class Seeds(click.ParamType):  # type: ignore[type-arg]
    """Seeds and ranges of seeds: 3 or 1-8 or 1-4,17."""

    name = "seeds"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, ...]:
        seeds: list[int] = []
        for part in str(value).split(","):
            match = re.fullmatch(r"([0-9]{1,19})(?:-([0-9]{1,19}))?", part.strip())
            if match is None:
                self.fail(f"{value!r} is not a seed or a range such as 1-8 or 1-4,17", param, ctx)
            low, high = int(match[1]), int(match[2] or match[1])
            if not low <= high < low + 10_000:
                self.fail(f"{part.strip()!r} is not a range of up to 10,000 seeds", param, ctx)
            seeds += range(low, high + 1)
            if len(seeds) > MAX_SEEDS:
                self.fail(f"it holds more than {MAX_SEEDS:,} seeds; ask for fewer", param, ctx)
        return tuple(seeds)


class Names(click.ParamType):  # type: ignore[type-arg]
    """Names separated by commas."""

    name = "names"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, ...]:
        if isinstance(value, tuple):
            return value
        return tuple(part.strip() for part in str(value).split(",") if part.strip())


PATH = click.Path(path_type=Path)

# models

device_option = click.option(
    "--device", metavar="D", help="cpu, cuda, cuda:1, mps; the best there is if not given."
)


def generator_option(text: str = f"The atlas's generator; known for {NAMES}.") -> Decorator:
    return click.option("--generator", metavar="G", help=text)


OF_ATLAS = f"The atlas's CLIP; known for {NAMES}."
BEYOND_THE_BANK = "The atlas's CLIP, for prompts not in its bank."


def clip_option(text: str, required: bool = False) -> Decorator:
    return click.option("--clip", required=required, metavar="CLIP", help=text)


def precision_option(of: str, *more: str) -> Decorator:
    text = f"Of {of}; bfloat16 on CUDA and float32 elsewhere if not given."
    return click.option("--precision", type=click.Choice(["float32", "bfloat16", *more]), help=text)


# images


def seeds_option(default: str = "1") -> Decorator:
    """--seed, as `seeds`: those of the images."""
    return click.option(
        "--seed", "seeds", type=Seeds(), default=default, show_default=True, help="1-8 or 3,5."
    )


def seed_option(of: str) -> Decorator:
    """--seed, as `seed`: that of all that a computation draws."""
    return click.option("--seed", default=0, show_default=True, help=f"Of {of}.")


def latent_option(kinds: str) -> Decorator:
    return click.option(
        "--latent",
        type=PATH,
        metavar="F",
        help=f"Start from a file of {kinds} (.npz, .npy, .pt), or a folder of them, instead.",
    )


def truncation_option(of: str = "seeds") -> Decorator:
    return click.option("--truncation", default=0.7, show_default=True, help=f"Psi of the {of}.")


class_option = click.option(
    "--class",
    "label",
    type=int,
    metavar="N",
    help="Class of a conditional generator; drawn at random if not given.",
)


def is_given(ctx: click.Context, name: str) -> bool:
    """Whether the option of that parameter stands on the command line."""
    return ctx.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE


def seeds_given(ctx: click.Context) -> bool:
    """Whether --seed stands on the command line, of a command that takes --latent, too.

    Raises:
        click.UsageError: both do.
    """
    given = is_given(ctx, "seeds")
    if given and ctx.params["latent"] is not None:
        raise click.UsageError("--seed and --latent exclude each other; give one of them")
    return given


# prompts


def neutral_option(*name: str, required: bool = False, multiple: bool = False) -> Decorator:
    return click.option(
        "--neutral",
        *name,
        required=required,
        multiple=multiple,
        metavar="TEXT",
        help='Where from: "a face".',
    )


def target_option(
    *name: str, required: bool = False, multiple: bool = False, more: str = ""
) -> Decorator:
    return click.option(
        "--target",
        *name,
        required=required,
        multiple=multiple,
        metavar="TEXT",
        help=f'Where to: "a sad face"{more}.',
    )


# results


def output_option(metavar: str, text: str, required: bool = True) -> Decorator:
    return click.option("-o", "--output", required=required, metavar=metavar, type=PATH, help=text)


styles_option = click.option("--styles", type=PATH, metavar="F", help="Also save .npz here.")
before_option = click.option(
    "--before", is_flag=True, help="A first column of the images as they were."
)
seconds_option = click.option(
    "--seconds", default=4.0, show_default=True, help="Of a film, there and back."
)
fps_option = click.option(
    "--fps", default=20.0, show_default=True, help="Frames a second of a film."
)
json_option = click.option("--json", "as_json", is_flag=True, help="Answer in JSON.")


def form_options(command: Callable[..., None]) -> Callable[..., None]:
    """--json and --csv; the command is told one `form`."""

    @json_option
    @click.option("--csv", "as_csv", is_flag=True, help="Answer in CSV with a header.")
    @wraps(command)
    def formed(*arguments: Any, as_json: bool, as_csv: bool, **options: Any) -> None:
        if as_json and as_csv:
            raise click.UsageError("--json and --csv exclude each other; give one of them")
        command(*arguments, form="json" if as_json else "csv" if as_csv else "text", **options)

    return formed
