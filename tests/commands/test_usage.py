"""Help, wrong usage, and what a command imports."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import click
import pytest

from styleatlas import __version__
from styleatlas.cli import main
from styleatlas.commands.query import query

COMMANDS = [
    "cache clear",
    "cache list",
    "convert",
    "import-table",
    "precompute",
    "edit",
    "optimize",
    "query channels",
    "query prompts",
    "query samples",
    "query similar",
    "query entangled",
    "query compare",
    "mapper train",
    "mapper apply",
    "mapper list",
    "encoder train",
    "models list",
    "models fetch",
    "models path",
    "models remove",
    "prompts add",
    "prompts renew",
    "push",
    "serve",
    "sheet",
    "report",
    "evaluate",
    "info",
    "invert",
    "verify",
    "demo",
]
PAIR = ("--neutral", "a picture", "--target", "a picture channel7")


def leaves(group: click.Group, path: str = "") -> list[str]:
    context, names = click.Context(group), []
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        inside = isinstance(command, click.Group)
        names += leaves(command, f"{path}{name} ") if inside else [path + name]
    return names


def test_every_command_is_known_here():
    assert sorted(leaves(main)) == sorted(COMMANDS)


@pytest.mark.parametrize("name", main.commands)
def test_help_of_all_says_of_a_command_what_its_own_help_does(name):
    command = main.get_command(click.Context(main), name)
    for width in (20, 45, 70, 500):
        told = main.commands[name].get_short_help_str(width)
        assert told == command.get_short_help_str(width)


def test_help_of_all_imports_no_command_and_that_of_one_no_other():
    code = """
import sys
from styleatlas.cli import main
def imported():
    return sorted(name for name in sys.modules if name.startswith("styleatlas.commands."))
for arguments in (["--help"], ["verify", "--help"]):
    main(arguments, standalone_mode=False)
    print(imported(), file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    of_all, of_one = done.stderr.splitlines()
    assert of_all == "['styleatlas.commands.base']"
    parts = ("base", "files", "inputs", "options", "sink", "sources")
    assert of_one == str([f"styleatlas.commands.{part}" for part in parts])


def test_no_help_imports_a_heavy_library():
    code = f"""
import sys
from styleatlas.cli import main
for command in {COMMANDS}:
    main([*command.split(), "--help"], standalone_mode=False)
heavy = {{"torch", "open_clip", "numpy", "h5py", "faiss", "PIL", "scipy"}}
print(sorted(heavy & sys.modules.keys()), file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == "[]\n"


@pytest.mark.parametrize("module", ["styleatlas", "styleatlas.cli"])
def test_module_is_the_same_program(run, module):
    def called(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", module, *arguments]
        return subprocess.run(command, capture_output=True, text=True)

    for arguments in (("--version",), ("info", "none.h5"), ("edit",)):
        done, known = called(*arguments), run(*arguments)
        assert done.returncode == known.exit_code
        assert done.stdout == known.stdout
        assert done.stderr.replace(f"python -m {module}", "styleatlas") == known.stderr


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_every_command_shows_an_example_of_it(run, command):
    result = run(*command.split(), "--help")
    assert result.exit_code == 0
    assert f"Usage: styleatlas {command} " in result.stdout
    examples = result.stdout[result.stdout.index("Examples:") :].splitlines()[1:]
    assert examples and all(f"{x} ".startswith(f"  styleatlas {command} ") for x in examples)
    assert result.stderr == ""


@pytest.mark.parametrize("command", COMMANDS)
def test_help_shows_every_option(run, command):
    context = click.Context(main, **main.context_settings)
    found: Any = main
    for name in command.split():
        found = found.get_command(context, name)
        context = click.Context(found, info_name=name, parent=context)
    text = run(*command.split(), "--help").stdout
    options = [p for p in found.get_params(context) if isinstance(p, click.Option)]
    shown = [option.opts[-1] for option in options if not option.hidden]
    assert shown and not [name for name in shown if f" {name}" not in text]


def test_help_of_edit_states_the_defaults_that_hold(run):
    from styleatlas.engine.steering.alpha import DEFAULT_PROBABILITY

    text = " ".join(run("edit", "--help").stdout.split())
    assert f"the samples' goal, or {DEFAULT_PROBABILITY:g} where they do not tell" in text


def test_help_of_a_group_lists_its_commands(run):
    for group, names in ((), main.commands), (("query",), query.commands):
        result = run(*group, "--help")
        assert result.exit_code == 0
        assert all(f"\n  {name} " in result.stdout for name in names)


def test_version_is_that_of_the_package(run):
    assert run("--version").stdout == f"styleatlas, version {__version__}\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ("fly",),
        ("edit",),
        ("edit", "a.h5", *PAIR),
        ("edit", "a.h5", "--neutral", "a", "-o", "x.png"),
        ("edit", "a.h5", *PAIR, "-o", "x.png", "--seed", "one"),
        ("edit", "a.h5", *PAIR, "-o", "x.png", "--alpha", "1;2"),
        ("edit", "a.h5", *PAIR, "-o", "x.png", "--beta", "high"),
        ("edit", "a.h5", "-o", "x.png"),
        ("edit", "a.h5", "--target", "a", "--edit", "a -> b", "-o", "x.png"),
        ("edit", "a.h5", *PAIR, "-o", "x.png", "--rule", "best"),
        ("edit", "a.h5", *PAIR, "-o", "x.png", "--probability", "most"),
        ("edit", "a.h5", *PAIR, "-o", "x.png", "--kinds", "conv"),
        ("edit", "a.h5", *PAIR, "-o", "x.png", "--alpha", ",".join("1" * 1001)),
        ("query", "channels", "a.h5", *PAIR, "--top", "few"),
        ("query", "channels", "a.h5", *PAIR, "--json", "--csv"),
        ("query", "prompts", "a.h5"),
        ("query", "compare", "a.h5"),
        ("models", "fetch"),
        ("models", "fetch", "ffhq", "--yes"),
        ("models", "fetch", "lpips"),
        ("models", "path"),
        ("models", "remove", "everything"),
        ("precompute", "avatars", "-o", "a.h5"),
        ("precompute", "avatars", "--clip", "avatars", "-o", "a.h5", "--images", "1.5"),
        ("evaluate", "a.h5"),
        ("evaluate", "a.h5", "-o", "quality", "--seed", "all"),
        ("info",),
        ("prompts", "add", "a.h5"),
        ("verify", "a.h5", "b.h5"),
    ],
    ids=lambda arguments: " ".join(arguments)[:80],
)
def test_wrong_usage_exits_with_2_and_shows_the_usage(run, arguments):
    result = run(*arguments)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert "Usage: styleatlas" in result.stderr and "Error: " in result.stderr


@pytest.mark.parametrize(
    "statement",
    [
        "import styleatlas",
        "from styleatlas import Atlas; Atlas.open({path!r})",
        "from styleatlas import StyleAtlasError",
        "import styleatlas; dir(styleatlas)",
    ],
)
def test_package_and_atlas_are_used_without_torch(countable_path, statement):
    code = f"""
import sys
{statement.format(path=str(countable_path))}
print(sorted({{"torch", "torchvision", "open_clip"}} & sys.modules.keys()))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize(
    ("command", "arguments"),
    [
        ("query channels", PAIR),
        ("query prompts", ("b8.conv0:0",)),
        ("query prompts", ("b8.conv0",)),
        ("query similar", PAIR),
        ("query entangled", (*PAIR, "--csv")),
        ("info", ()),
        ("verify", ()),
    ],
)
def test_questions_are_answered_without_torch(process, countable_path, command, arguments):
    done = process(*command.split(), countable_path, *arguments)
    assert done.returncode == 0, done.stderr
    assert done.stdout
    imported = done.stderr.splitlines()
    assert imported == ["imported:"]


def test_unknown_name_of_the_package_is_an_attribute_error():
    import styleatlas

    with pytest.raises(AttributeError, match="module 'styleatlas' has no attribute 'Mapper'"):
        styleatlas.Mapper  # noqa: B018
    assert set(styleatlas.__all__) <= set(dir(styleatlas))
