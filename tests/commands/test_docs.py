"""What the README and the documents tell people to type runs.

A block behind `<!-- run -->` is run, commands by the shell's rules and Python as it stands, all of
a document in one folder in which the files lie that they speak of. Long commands get fewer images
and steps by the options of `CHEAP`; the rest stands as people read it.
"""

from __future__ import annotations

import re
import shlex
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from styleatlas import load_encoder, load_generator
from styleatlas.store.registry import EMBEDDED

from ..checkpoint_files import modules_of, nvidia_pickle, random_tensors, small_stylegan2
from ..table_files import styleclip_files

ROOT = Path(__file__).parents[2]
MARK = "<!-- run -->"
CHEAP = {
    "edit": ("--seed", "1-2"),
    "evaluate": ("--seed", "1-3"),
    "invert": ("--steps", "0"),
    "mapper train": ("--steps", "2", "--batch", "2"),
    "optimize": ("--steps", "2", "--seed", "1"),
    "precompute": ("--images", "2", "--samples", "0", "--statistics", "60"),
}


@dataclass(frozen=True)
class Block:
    line: int
    kind: str
    text: str


def blocks(document: str) -> list[Block]:
    """The blocks of a document that are marked, indented or fenced."""
    lines = (ROOT / document).read_text("utf-8").split("\n")
    found = []
    for at in [at for at, line in enumerate(lines) if line.strip() == MARK]:
        start = next(i for i in range(at + 1, len(lines)) if lines[i].strip())
        fence = re.fullmatch(r"```(\w+)", lines[start])
        inside = []
        for line in lines[start + 1 if fence else start :]:
            if line.startswith("```") if fence else line.strip() and not line.startswith("    "):
                break
            inside.append(line if fence else line.removeprefix("    "))
        found.append(Block(start + 1, fence[1] if fence else "sh", "\n".join(inside).strip()))
    return found


def commands(text: str) -> list[list[str]]:
    """The commands of a block as lists of words, without the program's name."""
    whole = text.replace("\\\n", " ").split("\n")
    words = [shlex.split(line, comments=True) for line in whole]
    return [line[1:] for line in words if line and Path(line[0]).name == "styleatlas"]


DOCUMENTS = ["README.md", *sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md"))]
RUNNABLE = [document for document in DOCUMENTS if blocks(document)]


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
    shutil.copy(EMBEDDED.clip / "open_clip_model.safetensors", tmp_path / "ViT-B-32.pt")
    shutil.copy(EMBEDDED.atlas, tmp_path / "reference.h5")
    (tmp_path / "pirates.txt").write_text("a pirate hat\n")
    (tmp_path / "friends").mkdir()
    for seed, name in ((3, "drawing.png"), (4, "friends/ann.png"), (8, "friends/bob.jpg")):
        drawings(seed).save(tmp_path / name)
    return tmp_path


@pytest.mark.parametrize("document", RUNNABLE)
def test_what_is_marked_runs(run, folder, document):
    names: dict[str, object] = {}
    torch.manual_seed(0)
    np.random.seed(0)
    for block in blocks(document):
        if block.kind == "python":
            exec(compile(block.text, f"{document}:{block.line}", "exec"), names)
            continue
        found = commands(block.text)
        assert found, f"{document}:{block.line} is marked and holds no command"
        for words in found:
            name = " ".join(words[:2]) if words[0] in ("mapper", "query", "prompts") else words[0]
            seeded = "--latent" in words or ("--from-picture" in words and "--seed" not in words)
            cheap = () if seeded else CHEAP.get(name, ())
            cheap = CHEAP["invert"] if "--photo" in words else cheap
            result = run(*words, *cheap)
            assert result.exit_code == 0, f"{document}:{block.line} {words}: {result.stderr}"


def test_every_command_of_the_readme_is_marked():
    text = (ROOT / "README.md").read_text("utf-8")
    written = [
        line
        for line in text.split("\n")
        if re.match(
            r"    (\.venv/bin/)?styleatlas (?!serve)", line
        )  # that goes on until it is ended
    ]
    marked = [line for block in blocks("README.md") for line in block.text.split("\n")]
    assert written and not [line for line in written if line.strip() not in marked]


def test_marked_blocks_are_found_and_split_as_a_shell_does(tmp_path, monkeypatch):
    monkeypatch.setattr(f"{__name__}.ROOT", tmp_path)
    (tmp_path / "a.md").write_text(
        f'{MARK}\n\n    styleatlas edit "a b" \\\n        -o c  # told\n\ntext\n\n    not run\n\n'
        f"{MARK}\n\n```python\nx = 1\n```\n"
    )
    first, second = blocks("a.md")
    assert commands(first.text) == [["edit", "a b", "-o", "c"]]
    assert (second.kind, second.text) == ("python", "x = 1")
