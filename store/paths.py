"""Whether what people name is there to be read, asked before anything heavy is imported."""

from __future__ import annotations

import os

from .errors import CheckpointError, StyleAtlasError
from .hub_names import is_hub, read_name
from .progress import Report
from .registry import file_of, find_bundle, told_with

SYNTHESIS_GRAPH = "SynthesisNetwork.xml"
"""What tells the folder of a MobileStyleGAN as OpenVINO's graphs."""
PIPELINE = "model_index.json"
GENERATOR_SUFFIXES = (".pkl", ".pt", ".pth", ".ckpt", ".safetensors")
CLIP_SUFFIXES = (".pt", ".pth", ".bin", ".safetensors", ".ckpt")


def require_file(
    path: str | os.PathLike[str],
    error: type[StyleAtlasError],
    mend: str = "check the path",
    *,
    folders: bool = False,
) -> None:
    """Raise an error of that kind unless there is a file to read; or a folder, where those serve.

    Args:
        mend: what to do where there is nothing of that name.
    """
    name = os.fspath(path)
    if os.path.isdir(name):
        if not folders:
            raise error(f"{name}: is a directory; name the file in it")
    elif not os.path.exists(name):
        raise error(f"{name}: no such {'file or folder' if folders else 'file'}; {mend}")
    elif not os.path.isfile(name):  # opening a pipe would wait for ever
        raise error(f"{name}: is no regular file; copy it to a file first")
    if not os.access(name, os.R_OK):
        raise error(f"{name}: may not be read; check its permissions")


def require_checkpoint(path: str | os.PathLike[str]) -> None:
    """Raise CheckpointError unless there is such a file, or a folder that holds the graphs of a
    MobileStyleGAN; of another folder the message names the files that may be meant."""
    if os.path.isdir(path):
        if os.path.isfile(os.path.join(path, SYNTHESIS_GRAPH)):
            return
        raise CheckpointError(f"{os.fspath(path)}: is a directory; {_folder_mend(path)}")
    require_file(path, CheckpointError, f"check the path, or name {told_with('generator')}")


def _folder_mend(folder: str | os.PathLike[str]) -> str:
    try:
        names = sorted(os.listdir(folder))
    except OSError:
        names = []
    if PIPELINE in names:
        return "it is a pipeline of Hugging Face's diffusers, which holds no StyleGAN"
    found = [name for name in names if name.endswith(GENERATOR_SUFFIXES) and name.isprintable()]
    such = f", such as {' or '.join(found[:3])}" if found else ""
    return f"name the file in it{such}"


def require_clip(source: str, report: Report | None = None) -> None:
    """Raise CheckpointError if this is the path of a CLIP that is not there, OptionError if it is
    the name of a bundle that has none. Names of open_clip's are left to it, and whole repositories
    on the Hub to who reads them; a file there is fetched.

    Args:
        report: hears of a download.
    """
    if (bundle := find_bundle(source)) is not None:
        bundle.part("clip")
        return
    if is_hub(source):
        if read_name(source).file:
            file_of(source, report)
        return
    if os.path.exists(source):
        return
    _, equals, file = source.partition("=")
    if equals:
        require_file(file_of(file, report), CheckpointError)
    elif os.path.isabs(source) or source.startswith(".") or source.endswith(CLIP_SUFFIXES):
        raise CheckpointError(
            f"{source}: no such file or folder; check the path, or name {told_with('clip')} or one "
            "of open_clip's MODEL/TAG"
        )
