"""What the README and the documents tell people to type runs, or says why it is not run here.

A block behind `<!-- run -->` is run, commands by the shell's rules and Python as it stands, all of
a document in one folder in which the files lie that they speak of. Long commands get fewer images
and steps by the options of `CHEAP`; the rest stands as people read it.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import click
import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from styleatlas import load_encoder, load_generator
from styleatlas.cli import main
from styleatlas.store.registry import EMBEDDED

from ..checkpoint_files import modules_of, nvidia_pickle, random_tensors, small_stylegan2
from ..documents import (
    DOCUMENTS,
    NOT_RUN,
    ROOT,
    RUN,
    RUN_BY_A_SERVICE,
    RUN_WITH_FACES,
    Block,
    blocks,
)
from ..table_files import styleclip_files

CHEAP = {
    "edit": ("--seed", "1-2"),
    "evaluate": ("--seed", "1-3"),
    "invert": ("--steps", "0"),
    "mapper train": ("--steps", "2", "--batch", "2"),
    "optimize": ("--steps", "2", "--seed", "1"),
    "precompute": ("--images", "2", "--samples", "0", "--statistics", "60"),
}
BEFORE = {
    "docs/evaluation.md": (
        "convert ffhq.pkl ffhq.safetensors",
        "precompute ffhq.safetensors --clip ViT-B-32.pt -o ffhq.h5",
    ),
}
"""Commands of other documents that have to be run before those of one."""
RUNNABLE = [name for name in DOCUMENTS if any(block.mark == RUN for block in blocks(name))]
TYPED = [block for name in DOCUMENTS for block in blocks(name) if block.can_be_typed]
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z0-9-]*")


@pytest.fixture
def folder(tmp_path, monkeypatch, drawings) -> Path:
    """A folder of the files that documents speak of, as small as they can be."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("styleatlas.engine.photos.tune.STEPS", 2)
    config = small_stylegan2()
    tensors = random_tensors(config)
    for name in tensors:  # stored as training stores them, for a learning rate of 0.01
        if name.startswith("mapping.fc"):
            tensors[name] *= 100
    nvidia_pickle(tmp_path / "ffhq.pkl", tensors, modules_of(config))
    tuned = {name: 1.001 * tensor for name, tensor in tensors.items()}
    nvidia_pickle(tmp_path / "photo.pkl", tuned, modules_of(config))
    models = load_generator(tmp_path / "ffhq.pkl", "cpu"), load_encoder("avatars", "cpu")
    styleclip_files(tmp_path, *models)
    for name in ("bpe.txt.gz", "open_clip_config.json"):
        shutil.copy(EMBEDDED.clip / name, tmp_path / name)
    weights = EMBEDDED.clip / "open_clip_model.safetensors"
    shutil.copy(weights, tmp_path / "ViT-B-32.pt")
    other = {name: 1.001 * tensor for name, tensor in load_file(weights).items()}
    save_file(other, tmp_path / "ViT-L-14.pt")
    for name in ("reference.h5", "atlas.h5"):
        shutil.copy(EMBEDDED.atlas, tmp_path / name)
    shutil.copy(ROOT / "tests" / "archive" / "0.1.0" / "atlas.h5", tmp_path / "mine.h5")
    (suite,) = [block for block in blocks("docs/evaluation.md") if '"attributes"' in block.text]
    (tmp_path / "faces.json").write_text(suite.text)
    (tmp_path / "pirates.txt").write_text("a pirate hat\n")
    for name in ("friends", "downloads"):
        (tmp_path / name).mkdir()
    pictures = {3: "drawing.png", 4: "friends/ann.png", 8: "friends/bob.jpg"}
    pictures |= {5: "me.png", 6: "you.png", 7: "them.png"}
    for seed, name in pictures.items():
        drawings(seed).save(tmp_path / name)
    return tmp_path


def call(run, words: list[str]) -> None:
    name = " ".join(words[:2]) if words[0] in ("mapper", "query", "prompts") else words[0]
    seeded = "--latent" in words or ("--from-picture" in words and "--seed" not in words)
    cheap = () if seeded else CHEAP.get(name, ())
    cheap = CHEAP["invert"] if "--photo" in words else cheap
    options = dict(zip(cheap[::2], cheap[1::2], strict=True))
    if "none" in words:  # no table, and no images for it
        options.pop("--images", None)
    if "--samples" in words:  # those that a document names count
        options.pop("--samples", None)
    result = run(*words, *(word for pair in options.items() for word in pair))
    assert result.exit_code == 0, f"{words}: {result.stderr}"


def run_blocks(run, document: str, mark: str) -> None:
    """Run what a document marks so, its Python with the names of the blocks before."""
    names: dict[str, object] = {}
    torch.manual_seed(0)
    np.random.seed(0)
    for block in blocks(document):
        if block.mark != mark:
            continue
        if block.kind == "python":
            exec(compile(block.text, str(block), "exec"), names)
            continue
        assert block.commands, f"{block} is marked and holds no command"
        for words in block.commands:
            call(run, words)


@pytest.mark.parametrize("document", RUNNABLE)
def test_what_is_marked_runs(run, folder, document):
    for line in BEFORE.get(document, ()):
        call(run, line.split())
    run_blocks(run, document, RUN)


@pytest.mark.long
@pytest.mark.faces
def test_what_needs_faces_runs(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = run("sheet", "faces", "--seed", "3", "-o", "photo.png")
    assert result.exit_code == 0, result.stderr
    Image.open("photo.png").convert("RGB").save("photo.jpg")
    run_blocks(run, "docs/faces.md", RUN_WITH_FACES)


@pytest.mark.parametrize("block", TYPED, ids=str)
def test_what_can_be_typed_is_run_or_says_why_not(block):
    marks = (RUN, RUN_BY_A_SERVICE, RUN_WITH_FACES)
    assert block.mark in marks or NOT_RUN.fullmatch(block.mark or ""), (
        f"{block}: give it <!-- run -->, or <!-- not run: WHY --> (tests/documents.py)"
    )


def test_most_of_what_can_be_typed_is_run():
    run = sum(block.mark in (RUN, RUN_BY_A_SERVICE) for block in TYPED)
    assert run >= 40 and run > len(TYPED) / 2, f"{run} of {len(TYPED)}"


def understood(words: list[str]) -> None:
    """Reads a call without running it: a name or an option that there is not is refused, and a
    value of the wrong type."""
    context = main.make_context("styleatlas", list(words))
    while isinstance(context.command, click.Group):
        rest = [*context._protected_args, *context.args]
        name, command, rest = context.command.resolve_command(context, rest)
        context = command.make_context(name, rest, parent=context)


@pytest.mark.parametrize(
    "block", [block for block in TYPED if NOT_RUN.fullmatch(block.mark or "")], ids=str
)
def test_commands_that_are_not_run_are_understood(block):
    for words in block.commands:
        understood(words)


def options(command: click.Command) -> set[str]:
    """The options of a command, or of all commands of a group."""
    context = click.Context(command, **main.context_settings)
    found = {name for param in command.get_params(context) for name in param.opts}
    found |= {name for param in command.get_params(context) for name in param.secondary_opts}
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            assert inner is not None
            found |= options(inner)
    return found


def of_other_programs() -> set[str]:
    """Options that documents name of curl, pip and npm, of benchmarks and of tests."""
    known = {"--data-binary", "--ignore-scripts", "--index", "--no-deps", "--only-binary"}
    for path in (ROOT / "benchmarks").rglob("*.py"):
        known |= set(OPTION.findall(path.read_text("utf-8")))
    return known | set(OPTION.findall((ROOT / "tests" / "conftest.py").read_text("utf-8")))


@pytest.mark.parametrize("document", DOCUMENTS)
def test_options_that_a_document_names_are_there(document):
    named = set(OPTION.findall((ROOT / document).read_text("utf-8")))
    assert not named - options(main) - of_other_programs()


def test_blocks_are_found_with_their_marks_and_split_as_a_shell_does(tmp_path):
    (tmp_path / "a.md").write_text(
        f'<!-- {RUN} -->\n\n    styleatlas edit "a b" \\\n        -o c  # told\n\ntext\n\n'
        "    x = w * s\n\n    |X M - Y|^2\n\n<!-- not run: takes hours -->\n\n"
        "```python\nx = 1\n```\n"
        "- one\n\n    of it\n\n    # a comment\n    styleatlas info x\n\n```\nplain\n```\n"
    )
    first, second, third, plain = blocks("a.md", tmp_path)
    assert (first.line, first.mark, first.can_be_typed) == (3, RUN, True)
    assert first.commands == [["edit", "a b", "-o", "c"]]
    assert second.text == "x = w * s\n\n|X M - Y|^2" and not second.can_be_typed
    assert (third.kind, third.text, third.line) == ("python", "x = 1", 15)
    assert NOT_RUN.fullmatch(third.mark) and third.can_be_typed and not third.commands
    assert plain.text == "plain" and not plain.can_be_typed


@pytest.mark.parametrize("text", ["styleatlas info x", "# why\npip install x", "import x", "x = 1"])
def test_commands_and_programs_can_be_typed(text):
    assert Block("a.md", 1, "", text, None).can_be_typed


@pytest.mark.parametrize("text", ["a -> b", '{"number": 7}', "FOLDER/jobs.sqlite  the jobs"])
def test_formulas_and_files_can_not(text):
    assert not Block("a.md", 1, "", text, None).can_be_typed
