"""What people name in place of a generator, and generators of other families: how each is known,
what it is called, and what to do about it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

from ...store.errors import CheckpointError
from .checkpoint import excerpt
from .tensors import without_parallel

SUPPORTED = (
    "generators are read from NVIDIA's .pkl and state dicts of StyleGAN2 and StyleGAN3, "
    "rosinality's .pt, MobileStyleGAN's .ckpt or graphs, and StyleAtlas's own .safetensors"
)
ORIGINAL = (
    "get the weights as NVIDIA's .pkl or rosinality's .pt, from which such files are mostly "
    "converted"
)
OTHER_NETWORK = (
    "its network is none of StyleGAN2, StyleGAN3 and MobileStyleGAN, and no conversion mends that"
)

# How a file begins, what it is, what to do.
HEADS = (
    (b"\x89HDF\r\n\x1a\n", "is an HDF5 file, such as an atlas", "name the generator's checkpoint"),
    (b"\x89PNG", "is a picture", "name the generator's checkpoint"),
    (b"\xff\xd8\xff", "is a picture", "name the generator's checkpoint"),
    (b"\x93NUMPY", "is a NumPy array", "name the generator's checkpoint"),
    (
        b"version https://git-lfs",
        "is a pointer of Git LFS, not the file itself",
        "fetch it with `git lfs pull`",
    ),
    (b"\x1f\x8b", "is packed with gzip", "unpack it first"),
    (b"BZh", "is packed with bzip2", "unpack it first"),
    (b"\xfd7zXZ", "is packed with xz", "unpack it first"),
    (b"\x28\xb5\x2f\xfd", "is packed with zstd", "unpack it first"),
    (b"7z\xbc\xaf", "is a 7-Zip archive", "unpack it first"),
    (b"Rar!", "is a RAR archive", "unpack it first"),
    (b"GGUF", "is a GGUF model", SUPPORTED),
    (b"model_checkpoint_path", "is the index of a TensorFlow checkpoint", SUPPORTED),
)

# How a name among the tensors begins, what the state dict is, what to do. The first that fits.
STATES = (
    ("mapping.embed_proj.", "the state dict of a StyleGAN-XL", OTHER_NETWORK),
    ("style_mapping.", "a StyleGAN2 of MMGeneration or MMagic", ORIGINAL),
    ("style_mlp.", "a StyleGAN2 of BasicSR or GFPGAN", ORIGINAL),
    ("progression.", "a StyleGAN of 2018, in rosinality's names", OTHER_NETWORK),
    ("g_synthesis.", "a StyleGAN of 2018, in the names of a port to PyTorch", OTHER_NETWORK),
    ("mapping.dense", "a StyleGAN in the names of GenForce", ORIGINAL),
    ("down_blocks.", "a diffusion model of Hugging Face's diffusers", OTHER_NETWORK),
    ("visual.", "a CLIP", "name it by --clip"),
    ("text_model.", "a CLIP", "name it by --clip"),
    ("mapper.", "a latent mapper of StyleCLIP", "apply it with `styleatlas mapper apply`"),
    ("input_layer.0.", "a face recogniser", "name it by --identity"),
    ("fc5.", "a face recogniser", "name it by --identity"),
    (
        "synthesis.",
        "a part of a state dict in NVIDIA's names",
        "save that of the whole generator, mapping and synthesis",
    ),
    ("encoder.", "an encoder without its generator", "name the generator it was trained with"),
)
# Where a state dict of another program hides its generator.
PREFIXES = ("", "G_ema.", "decoder.", "generator_ema.", "generator.", "g_running.")


def foreign_head(path: Path, head: bytes) -> CheckpointError:
    """The refusal of a file that begins so."""
    for start, what, mend in HEADS:
        if head.startswith(start):
            return CheckpointError(f"{path}: {what}; {mend}")
    if head.lstrip().lower().startswith((b"<!doctype", b"<html", b"<?xml", b"<head")):
        return CheckpointError(f"{path}: is a web page, so its download failed; download it again")
    if head[257:262] == b"ustar":
        return CheckpointError(f"{path}: is a tar archive; unpack it first")
    if head[:1] == b"\x08" and (b"pytorch" in head or b"onnx" in head):
        return CheckpointError(
            f"{path}: is an ONNX model, which holds a network without its layers' names; name the "
            f"checkpoint that it was exported from; {SUPPORTED}"
        )
    return CheckpointError(
        f"{path}: is no checkpoint of a known kind (it begins with {head[:8].hex(' ')}); "
        f"{SUPPORTED}"
    )


def foreign_state(state: object) -> tuple[str, str] | None:
    """What a state dict is that holds no generator which can be built, and what to do."""
    if not isinstance(state, Mapping):
        return None
    names = [name for name in without_parallel(state) if isinstance(name, str)]
    for start, what, mend in STATES:
        begins = tuple(f"{prefix}{start}" for prefix in PREFIXES)
        if any(name.startswith(begins) for name in names):
            return what, mend
    return None


def foreign_content(path: Path, content: object) -> CheckpointError:
    """The refusal of a file that unfolds to `content`, which is no generator."""
    if isinstance(content, Mapping):
        if {"GAN", "version"} <= content.keys():
            return without(path, "a StyleGAN2 of lucidrains' stylegan2_pytorch", OTHER_NETWORK)
        for part in (content, *content.values()):
            if found := foreign_state(part):
                return without(path, *found)
        names = ", ".join(excerpt(name) for name in list(content)[:6])
        return without(path, f"a dict of {names}" if names else "an empty dict")
    return without(path, excerpt(content))


def without(path: Path, what: str, mend: str = SUPPORTED) -> CheckpointError:
    """The refusal of a file that holds this instead of a generator that can be read."""
    return CheckpointError(f"{path}: holds {what}, no generator that can be read; {mend}")


def descendant(class_name: str, mapping: Collection[str]) -> str:
    """What a module of NVIDIA's persistence is that goes beyond StyleGAN3, and what to do; empty
    where it bears none of their marks.

    Args:
        class_name: of the whole generator.
        mapping: the names of the modules in its mapping network.
    """
    if class_name == "SuperresGenerator" or "embed_proj" in mapping:
        return (
            "a StyleGAN-XL: its labels pass a pretrained embedding, and its layers are grown on a "
            f"smaller generator; neither can be computed here; {OTHER_NETWORK}"
        )
    if {"clip", "text_encoder"} & set(mapping):
        return (
            "a StyleGAN-T: texts steer its mapping, and its layers are of its own; they cannot be "
            f"computed here; {OTHER_NETWORK}"
        )
    return ""
