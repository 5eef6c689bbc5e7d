"""Wrong paths and prompts, which fail before PyTorch is loaded."""

from __future__ import annotations

import click
import pytest
from click.shell_completion import ShellComplete

from styleatlas.cli import main
from styleatlas.commands.inputs import Given, Prompt

from .test_usage import leaves

PAIR = ("--neutral", "a face", "--target", "a sad face")
OUT = ("-o", "o.png")
OPTIMIZE = ("optimize", "avatars", "--clip", "avatars", *PAIR, *OUT)
PRECOMPUTE = ("precompute", "avatars", "--clip", "avatars")
TRAIN = ("mapper", "train", "avatars", "--clip", "avatars", *PAIR)

WRONG_PATHS = [
    (("serve", "none.h5"), "none.h5: no such file; check the path, or draw it"),
    (("serve", "avatars", "--folder", "file"), "file: cannot be made (file is not a folder)"),
    (("convert", "none.pkl", "o.safetensors"), "none.pkl: no such file; check the path, or name"),
    (("convert", "avatars", "none/o.safetensors"), "none does not exist; create it first"),
    (("convert", "avatars", "o.txt"), "a converted checkpoint's name must end in .safetensors"),
    (("demo", "--out", "file"), "file: cannot be made (file is not a folder)"),
    (("edit", "none.h5", *PAIR, *OUT), "none.h5: no such file; check the path, or draw it"),
    (("edit", "file", *PAIR, *OUT), "file: is not an HDF5 file, so it is not an atlas"),
    (("edit", "avatars", *PAIR, *OUT, "--generator", "none.pkl"), "none.pkl: no such file"),
    (("edit", "avatars", *PAIR, *OUT, "--clip", "none.pt"), "none.pt: no such file or folder"),
    (("edit", "avatars", *PAIR, *OUT, "--clip", "ViT-B-32=none.pt"), "none.pt: no such file"),
    (("edit", "avatars", *PAIR, *OUT, "--latent", "none.npz"), "none.npz: no such file or folder"),
    (("edit", "avatars", *PAIR, *OUT, "--mappers", "none"), "none: no such folder"),
    (("edit", "avatars", *OUT, "--from-picture", "none.png"), "none.png: no such file"),
    (("edit", "avatars", *PAIR, "-o", "folder.png"), "folder.png: is a directory; name a file"),
    (("edit", "avatars", *PAIR, "-o", "o.jpg"), "o.jpg: pictures are written as PNG; end the"),
    (("edit", "avatars", *PAIR, *OUT, "--styles", "s.txt"), "s.txt: styles are written as NumPy's"),
    (("edit", "avatars", *PAIR, "-o", "none/o.png"), "none does not exist; create it first"),
    (("edit", "avatars", *PAIR, "-o", "file/o"), "file is not a folder"),
    (("edit", "avatars", *PAIR, *OUT, "--styles", "none/o.npz"), "none does not exist"),
    (("evaluate", "none.h5", "-o", "o"), "none.h5: no such file"),
    (("evaluate", "avatars", "-o", "file"), "file is not a folder"),
    (("evaluate", "avatars", "-o", "o", "--edits", "none.json"), "none.json: no such file"),
    (("evaluate", "avatars", "-o", "o", "--reference", "none.h5"), "none.h5: no such file"),
    (("evaluate", "avatars", "-o", "o", "--judge", "none.pt"), "none.pt: no such file or folder"),
    (("query", "samples", "none.h5", *PAIR), "none.h5: no such file; check the path, or draw it"),
    (
        ("import-table", "none.npy", "--generator", "avatars", "--clip", "avatars", "-o", "o.h5"),
        "none.npy: no such file",
    ),
    (("info", "none"), "none: no such file; check the path, or name `avatars`"),
    (("mapper", "apply", "none.pt", *OUT), "none.pt: no such file, and no mapper of that name"),
    (("mapper", "apply", "file", "-o", "o.jpg"), "o.jpg: pictures are written as PNG; end the"),
    (("mapper", "list", "none"), "none: no such folder"),
    (("mapper", "train", "none.pkl", "--clip", "avatars", *PAIR), "none.pkl: no such file"),
    ((*TRAIN, "--latents", "none.npz"), "none.npz: no such file or folder"),
    ((*TRAIN, "--identity", "none.pth"), "none.pth: no such file"),
    ((*TRAIN, "-o", "none/o.safetensors"), "none does not exist; create it first"),
    ((*TRAIN, "-o", "o.pt"), "o.pt: a mapper's name must end in .safetensors"),
    ((*OPTIMIZE[:2], "--clip", "./none", *OPTIMIZE[4:]), "./none: no such file or folder"),
    ((*OPTIMIZE, "--atlas", "none.h5"), "none.h5: no such file"),
    ((*OPTIMIZE, "-o", "o.jpg"), "o.jpg: pictures are written as PNG; end the name in .png"),
    ((*OPTIMIZE, "--styles", "s.txt"), "s.txt: styles are written as NumPy's .npz"),
    ((*OPTIMIZE, "--identity", "none.pth"), "none.pth: no such file"),
    (("edit", "avatars", *PAIR, "--photo", "none.jpg", *OUT), "none.jpg: no such file"),
    (("edit", "avatars", *PAIR, "--photo", "file", "-o", "o.bmp"), "o.bmp: photos are written as"),
    (
        ("edit", "avatars", *PAIR, "--photo", "file", "--mask", "none.png", *OUT),
        "none.png: no such",
    ),
    (("invert", "none.h5", "file", "-o", "p.npz"), "none.h5: no such file"),
    (("invert", "avatars", "file", "--encoder", "none.pt", "-o", "p.npz"), "none.pt: no such file"),
    (("encoder", "train", "none.h5", "-o", "e.safetensors"), "none.h5: no such file"),
    (("encoder", "train", "avatars", "-o", "none/e.safetensors"), "none does not exist; create it"),
    (("invert", "avatars", "none.jpg", "-o", "p.npz"), "none.jpg: no such file"),
    (("invert", "avatars", "file", "-o", "p.pt"), "p.pt: styles are written as NumPy's .npz"),
    (("precompute", "folder.png", "--clip", "avatars", "-o", "o.h5"), "folder.png: is a directory"),
    ((*PRECOMPUTE, "-o", "none/o.h5"), "none does not exist; create it first"),
    ((*PRECOMPUTE, "-o", "o.h5", "--prompts", "none.txt"), "none.txt: no such file"),
    (("prompts", "add", "none.h5", "file"), "none.h5: no such file"),
    (("prompts", "renew", "none.h5"), "none.h5: no such file"),
    (("prompts", "add", "avatars", "none.txt", "-o", "o.h5"), "none.txt: no such file"),
    (("query", "channels", "none.h5", *PAIR), "none.h5: no such file"),
    (("query", "channels", "avatars", *PAIR, "--clip", "none.pt"), "none.pt: no such file"),
    (("query", "compare", "avatars", "none.h5"), "none.h5: no such file"),
    (("query", "entangled", "none.h5", *PAIR), "none.h5: no such file"),
    (("query", "prompts", "none.h5", "b4.conv1"), "none.h5: no such file"),
    (("query", "similar", "none.h5", *PAIR), "none.h5: no such file"),
    (("report", "none.h5", "-o", "o.html"), "none.h5: no such file"),
    (("report", "avatars", "-o", "none/o.html"), "none does not exist"),
    (("sheet", "none.h5", "b4.conv1:0", *OUT), "none.h5: no such file"),
    (("sheet", "none.pkl", *OUT), "none.pkl: no such file; check the path, or name `avatars`"),
    (("sheet", "faces", *OUT), "faces: not fetched yet; `styleatlas models fetch faces` fetches"),
    (("report", "avatars", "-o", "o.txt"), "o.txt: reports are written as HTML; end the name"),
    (("sheet", "avatars", "b4.conv1:0", "-o", "o.jpg"), "o.jpg: pictures are written as PNG"),
    (("sheet", "avatars", "b4.conv1:0", "-o", "folder.png"), "folder.png: is a directory"),
    (("verify", "none.h5"), "none.h5: no such file"),
    (("push", "none.h5", "hf://me/x"), "none.h5: no such file; check the path, or draw it"),
    (("push", "avatars", "hf://me/x", "--picture", "none.png"), "none.png: no such file"),
]

WRONG_PROMPTS = [
    ("", "prompt: is empty; write what the picture should show"),
    (" \n ", "prompt: is empty"),
    ("x" * 1025, "longer than 1024 bytes; shorten it"),
    ("a\x1b[2Jb", "prompt 'a\\x1b[2Jb': holds control characters; remove them"),
    ("A  Face", 'target: "A Face" is the neutral prompt itself; say what differs'),
]


@pytest.fixture
def light(process, tmp_path, monkeypatch):
    """Fail in an empty folder, but for a file and a folder, without a heavy import, and return the
    one line on stderr."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("a file")
    (tmp_path / "folder.png").mkdir()

    def light(*arguments: object) -> str:
        done = process(*arguments)
        *told, imported = done.stderr.splitlines()
        assert done.returncode == 1 and done.stdout == "", done.stderr
        assert not {"torch", "open_clip", "faiss"} & set(imported.split())
        assert len(told) == 1
        return told[0]

    return light


@pytest.mark.parametrize(("arguments", "message"), WRONG_PATHS, ids=lambda part: str(part)[:70])
def test_wrong_path_fails_before_torch_is_loaded(light, arguments, message):
    assert message in light(*arguments)


def test_every_command_is_tried_with_a_wrong_path():
    tried = {" ".join(arguments[:2]) for arguments, _ in WRONG_PATHS}
    # Weights that are fetched go by names of a list, and the cache by none.
    of_paths = [name for name in leaves(main) if not name.startswith(("models ", "cache "))]
    assert all(any(path == name or path.split()[0] == name for path in tried) for name in of_paths)


@pytest.mark.parametrize(("prompt", "message"), WRONG_PROMPTS, ids=lambda part: part[:20])
@pytest.mark.parametrize(
    "command",
    [("edit", "avatars", *OUT), OPTIMIZE[:4] + OUT, TRAIN[:5], ("query", "channels", "avatars")],
    ids=lambda command: command[0],
)
def test_wrong_prompt_fails_before_torch_is_loaded(light, command, prompt, message):
    assert message in light(*command, "--neutral", "a face", "--target", prompt)


def test_wrong_edit_fails_before_torch_is_loaded(light):
    arguments = ("edit", "avatars", *OUT, "--edit")
    assert "write it as NEUTRAL -> TARGET" in light(*arguments, "a face")
    assert "is the neutral prompt itself" in light(*arguments, "a face -> A FACE")
    assert "holds control characters" in light(*arguments, "a face -> a \x07 face")


def test_empty_name_of_a_file_is_wrong_usage(run):
    for arguments in (
        ("edit", "avatars", *PAIR, "-o", ""),
        ("verify", ""),
        (*PRECOMPUTE, "-o", ""),
        ("mapper", "list", ""),
    ):
        result = run(*arguments)
        assert result.exit_code == 2 and "is empty; name a file" in result.stderr


LONG = "a" * 300


@pytest.mark.parametrize(
    "arguments",
    [
        ("edit", "avatars", *PAIR, "-o", f"{LONG}.png"),
        ("edit", "avatars", *PAIR, *OUT, "--mappers", LONG),
        ("demo", "--out", LONG),
        ("mapper", "list", LONG),
        ("mapper", "apply", LONG, "-o", "o.png"),
        (*PRECOMPUTE, "-o", f"{LONG}.h5"),
    ],
    ids=lambda part: str(part)[:30],
)
def test_name_that_no_file_system_takes_is_wrong_usage(run, arguments):
    result = run(*arguments)
    assert result.exit_code == 2 and "more than 255 bytes; shorten it" in result.stderr


def test_name_that_leaves_no_room_for_what_is_written_beside_is_refused_first(light):
    assert "the name is too long; shorten it" in light(
        "edit", "avatars", *PAIR, "-o", f"{LONG[:245]}.png"
    )


def test_what_a_command_reads_it_does_not_write_over(light, tmp_path):
    for name in ("p.h5", "g.safetensors", "s.npz"):
        (tmp_path / name).write_bytes(b"mine")
    (tmp_path / "link.h5").symlink_to(tmp_path / "p.h5")
    (tmp_path / "same.h5").hardlink_to(tmp_path / "p.h5")
    prompts = ("--prompts", "p.h5")
    training = ("mapper", "train", "g.safetensors", "--clip", "avatars", *PAIR)
    for arguments in (
        (*PRECOMPUTE, *prompts, "-o", "p.h5"),
        (*PRECOMPUTE, *prompts, "-o", "./link.h5"),
        (*PRECOMPUTE, *prompts, "-o", "same.h5"),
        ("prompts", "add", "avatars", "p.h5", "-o", "p.h5"),
        (*training, "-o", "g.safetensors"),
        ("edit", "avatars", *PAIR, *OUT, "--latent", "s.npz", "--styles", "s.npz"),
    ):
        assert "is read by the same command, and would be lost" in light(*arguments)


def test_prompt_of_several_lines_is_one_line():
    assert Prompt().convert("a\nsad \t face\n", None, None) == "a sad face"


def test_every_file_that_a_command_takes_is_of_a_type_that_is_asked(run):
    """No parameter is a plain click.Path, which would be looked for after torch is loaded."""
    for name in leaves(main):
        command: click.Command = main
        for part in name.split():
            assert isinstance(command, click.Group)
            command = command.get_command(click.Context(command), part) or command
        for param in command.params:
            assert not isinstance(param.type, click.Path), f"{name} {param.name}"
            if param.name in ("atlas", "generator", "clip", "output", "latent", "styles", "file"):
                assert isinstance(param.type, Given), f"{name} {param.name}"


@pytest.mark.parametrize(
    ("words", "incomplete", "offered"),
    [
        (["edit"], "", {"avatars", ""}),
        (["edit"], "av", {"avatars", "av"}),
        (["edit"], "my", {"my"}),
        (["edit", "avatars", "--clip"], "", {"avatars", ""}),
        (["mapper", "train", "avatars", "--identity"], "", {"avatars", "clip", "dlib", "off", ""}),
        (["query", "compare", "avatars"], "a", {"avatars", "a"}),
    ],
)
def test_shell_completes_registered_names_beside_files(words, incomplete, offered):
    completions = ShellComplete(main, {}, "styleatlas", "_X").get_completions(words, incomplete)
    assert {item.value for item in completions} == offered
    assert [item.type for item in completions if item.value == incomplete] == ["file"]
