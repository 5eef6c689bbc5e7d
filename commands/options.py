"""The options that commands share, each declared once, and the types of their values."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import wraps
from typing import Any

import click

from ..store.output import STYLES
from ..store.registry import told_with
from .base import HOW, IMAGES, MODELS, OTHER, PROMPTS, RESULTS, Option
from .inputs import Checkpoint, Clip, Given, InputPlace, OutputFile, Prompt, Recogniser

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
            if low > high:
                told = f"{part.strip()!r}: its first seed is larger than its last; swap them"
                self.fail(told, param, ctx)
            if high >= low + 10_000:
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


_THREADS = "styleatlas.threads"


def option(*names: str, group: str = OTHER, **attributes: Any) -> Decorator:
    """`click.option` in a group of the help."""
    return click.option(*names, cls=Option, group=group, **attributes)


# models

device_option = option(
    "--device",
    metavar="D",
    group=MODELS,
    help="cpu, cuda, cuda:1, mps; the best there is if not given.",
)


def generator_option(
    text: str = f"The atlas's generator; known for {told_with('generator')}.",
) -> Decorator:
    return option("--generator", type=Checkpoint(), metavar="G", group=MODELS, help=text)


tuned_option = option(
    "--tuned",
    is_flag=True,
    group=MODELS,
    help="Take a generator that was tuned from the atlas's own, as to a photo; a note says how far "
    "its styles moved.",
)


OF_ATLAS = f"The atlas's CLIP; known for {told_with('clip')}."
BEYOND_THE_BANK = "The atlas's CLIP, for prompts not in its bank."


def clip_option(text: str, required: bool = False) -> Decorator:
    return option("--clip", required=required, type=Clip(), metavar="CLIP", group=MODELS, help=text)


def precision_option(of: str, *more: str) -> Decorator:
    kinds = ("float32", "bfloat16", *more)
    told = f"{', '.join(kinds[:-1])} or {kinds[-1]}"
    return option(
        "--precision",
        type=click.Choice(kinds),
        metavar="TYPE",
        group=MODELS,
        help=f"Of {of}: {told}; bfloat16 on CUDA and float32 elsewhere if not given.",
    )


def _keep_threads(ctx: click.Context, param: click.Parameter, value: int | None) -> None:
    ctx.meta[_THREADS] = value


threads_option = option(
    "--threads",
    type=click.IntRange(1, 1024),
    metavar="N",
    expose_value=False,
    callback=_keep_threads,
    group=MODELS,
    help="Of the CPU, to compute on; one a core if not given.",
)


def threads_asked() -> int | None:
    """What --threads says of the command that runs."""
    asked: int | None = click.get_current_context().meta.get(_THREADS)
    return asked


# images


def seeds_option(default: str = "1") -> Decorator:
    """--seed, as `seeds`: those of the images."""
    return option(
        "--seed",
        "seeds",
        type=Seeds(),
        default=default,
        show_default=True,
        group=IMAGES,
        help="1-8 or 3,5.",
    )


def seed_option(of: str) -> Decorator:
    """--seed, as `seed`: that of all that a computation draws."""
    return option("--seed", default=0, show_default=True, group=IMAGES, help=f"Of {of}.")


latent_space_option = option(
    "--latent-space",
    type=click.Choice(["z", "w", "w+", "s"]),
    metavar="S",
    group=IMAGES,
    help="z, w, w+ or s: what the latents are, where name and shape leave it open.",
)


def latent_option(kinds: str) -> Decorator:
    """--latent, and --latent-space."""
    file = option(
        "--latent",
        type=InputPlace(),
        metavar="F",
        group=IMAGES,
        help=f"Start from a file of {kinds}, or a folder of them, instead; see docs/latents.md.",
    )
    return lambda command: file(latent_space_option(command))


def truncation_option(of: str = "seeds") -> Decorator:
    return option(
        "--truncation",
        default=0.7,
        show_default=True,
        group=IMAGES,
        help=f"Psi of the {of}; a negative one draws the opposite.",
    )


class_option = option(
    "--class",
    "label",
    type=int,
    metavar="N",
    group=IMAGES,
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


def neutral_option(*name: str, more: str = "", **how: bool) -> Decorator:
    return _prompt_option("--neutral", *name, help=f'Where from: "a face"{more}.', **how)


def target_option(*name: str, more: str = "", **how: bool) -> Decorator:
    return _prompt_option("--target", *name, help=f'Where to: "a sad face"{more}.', **how)


def _prompt_option(*names: str, help: str, **how: bool) -> Decorator:
    """Args: how: `required` and `multiple`, as click takes them."""
    return option(*names, type=Prompt(), metavar="TEXT", group=PROMPTS, help=help, **how)


# results


def output_option(metavar: str, text: str, kind: Given, required: bool = True) -> Decorator:
    return option(
        "-o",
        "--output",
        required=required,
        metavar=metavar,
        type=kind,
        group=RESULTS,
        help=text,
    )


styles_option = option(
    "--styles", type=OutputFile(STYLES), metavar="F", group=RESULTS, help="Also save .npz here."
)
before_option = option(
    "--before", is_flag=True, group=RESULTS, help="A first column of the images as they were."
)
seconds_option = option(
    "--seconds", default=4.0, show_default=True, group=RESULTS, help="Of a film, there and back."
)
fps_option = option(
    "--fps", default=20.0, show_default=True, group=RESULTS, help="Frames a second of a film."
)


def _one_form(ctx: click.Context, param: click.Parameter, value: bool) -> bool:
    if value and ctx.params.get("as_csv" if param.name == "as_json" else "as_json"):
        raise click.UsageError("--json and --csv exclude each other; give one of them")
    return value


json_option = option(
    "--json",
    "as_json",
    is_flag=True,
    group=RESULTS,
    callback=_one_form,
    help="Answer in JSON.",
)


def form_options(command: Callable[..., None]) -> Callable[..., None]:
    """--json and --csv; the command is told one `form`."""

    @json_option
    @option(
        "--csv",
        "as_csv",
        is_flag=True,
        group=RESULTS,
        callback=_one_form,
        help="Answer in CSV with a header.",
    )
    @wraps(command)
    def formed(*arguments: Any, as_json: bool, as_csv: bool, **options: Any) -> None:
        command(*arguments, form="json" if as_json else "csv" if as_csv else "text", **options)

    return formed


identity_option = option(
    "--identity",
    type=Recogniser(),
    group=HOW,
    default="off",
    show_default=True,
    metavar="I",
    help=f"What is to see the same person: off, clip, dlib, {told_with('identity')}, or a face "
    "recogniser's file.",
)
