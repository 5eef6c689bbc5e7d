"""Values that options take, and what excludes what."""

from __future__ import annotations

import click
import pytest

from styleatlas.commands.options import Numbers, Seeds


@pytest.mark.parametrize(
    ("text", "seeds"),
    [
        ("3", (3,)),
        ("1-4", (1, 2, 3, 4)),
        ("7-7", (7,)),
        ("1-3, 17,2", (1, 2, 3, 17, 2)),
        ("0", (0,)),
        ("4294967296", (4294967296,)),  # left to the check of the seed's range
    ],
)
def test_seeds_and_ranges_are_read_in_order(text, seeds):
    assert Seeds().convert(text, None, None) == seeds


@pytest.mark.parametrize(
    "text", ["", "x", "1,", "-1", "1-", "1--2", "1-2-3", "1.5", "²", "٣", "9" * 5000]
)
def test_what_is_no_seed_is_refused(text):
    with pytest.raises(click.BadParameter, match="is not a seed or a range such as 1-8 or 1-4,17"):
        Seeds().convert(text, None, None)


def test_range_backwards_is_refused():
    with pytest.raises(click.BadParameter, match="'8-1': its first seed is larger than its last"):
        Seeds().convert("3, 8-1", None, None)


@pytest.mark.parametrize("text", ["1-10001", "0-99999999999"])
def test_range_without_end_is_refused(text):
    with pytest.raises(click.BadParameter, match="is not a range of up to 10,000 seeds"):
        Seeds().convert(text, None, None)


def test_seeds_without_end_are_refused():
    with pytest.raises(click.BadParameter, match="it holds more than 100,000 seeds"):
        Seeds().convert(",".join(["0-9999"] * 11), None, None)


def test_numbers_are_separated_by_commas():
    assert Numbers().convert("-2,0, 4.5,1e1", None, None) == (-2.0, 0.0, 4.5, 10.0)
    for text in ("", "1,", "one", "1 2"):
        with pytest.raises(click.BadParameter, match="is not a number, or numbers separated by"):
            Numbers().convert(text, None, None)


@pytest.mark.parametrize(
    "command",
    [
        ("edit", "none.h5", "--neutral", "a", "--target", "b"),
        ("optimize", "none.pkl", "--clip", "none", "--neutral", "a", "--target", "b"),
        ("mapper", "apply", "none.safetensors"),
    ],
    ids=" ".join,
)
def test_seeds_and_latents_exclude_each_other(run, command):
    result = run(*command, "--seed", 1, "--latent", "z.npz", "-o", "o.png")
    assert result.exit_code == 2 and result.stdout == ""
    assert "--seed and --latent exclude each other; give one of them" in result.stderr


def test_threads_are_those_of_the_option(run, draw_to, tmp_path, monkeypatch):
    asked: list[int | None] = []
    monkeypatch.setattr(
        "styleatlas.engine.models.threads.use_threads",
        asked.append,
    )
    pair = ("--neutral", "a picture", "--target", "a picture channel7", "--alpha", "1")
    draw_to(tmp_path / "o.png", *pair, "--beta", "0.05", "--threads", "2")
    draw_to(tmp_path / "o.png", *pair, "--beta", "0.05")
    assert asked == [2]
    assert run("edit", "avatars", "-o", "o.png", "--threads", "0").exit_code == 2


def test_workers_share_the_cores_unless_threads_are_given(monkeypatch):
    from styleatlas.precompute import executors

    given: list[tuple[object, ...]] = []
    monkeypatch.setattr(executors, "_cores", lambda: 8)
    monkeypatch.setattr(
        executors.ProcessPoolExecutor, "__init__", lambda self, *arguments: given.append(arguments)
    )
    executors.open_executor(4, None, "cpu")
    executors.open_executor(4, None, "cpu", 3)
    cores = [arguments[-1][-1] for arguments in given]  # type: ignore[index]
    assert cores == [2, 3]
