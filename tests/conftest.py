"""Models that can be computed by hand, and the smallest real ones, shared by all tests.

The countable pair: `CountableGenerator` shows style channel k as pixel k of the red channel, and
`CountableEncoder` reads pixel k as an angle in a plane of its own. So a channel at mean +- step
moves the unit embedding by exactly `effect(channel, mean)`, whatever the other channels do.
"""

from __future__ import annotations

import gzip
import hashlib
import importlib.util
import json
import os
import random
import shutil
import signal
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor

from styleatlas.engine.checkpoints.checkpoint import GeneratorConfig
from styleatlas.engine.models.generator import Network, StyleGANGenerator, build
from styleatlas.engine.networks.stylegan2 import StyleGAN2, StyleGAN2Config
from styleatlas.precompute.build import precompute
from styleatlas.precompute.settings import PrecomputeSettings
from styleatlas.prompts.sets import PromptSet
from styleatlas.store.atlas import Atlas
from styleatlas.store.errors import PromptError
from styleatlas.store.fingerprint import ModelIdentity
from styleatlas.store.layout import Layer, StyleLayout
from styleatlas.store.weights import GROUPS, WEIGHTS

if TYPE_CHECKING:
    import httpx

    from .service import Service

LAYERS = [
    ("input", "input", 4, 2),
    ("b4.conv1", "conv", 4, 3),
    ("b4.torgb", "rgb", 4, 2),
    ("b8.conv0", "conv", 8, 4),
    ("b8.torgb", "rgb", 8, 3),
]
STRENGTH = 5.0
IMAGES = 24
BANK = ("a picture", "a picture channel7", "a picture channel12", "something else")


BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
BROWSER = os.environ.get("STYLEATLAS_BROWSER") or next(
    filter(None, map(shutil.which, BROWSERS)), None
)

# What a mark says that a test needs, and whether it is here.
NEEDS: dict[str, tuple[str, Callable[[], bool]]] = {
    "gpu": ("a GPU", torch.cuda.is_available),
    "transformers": (
        "the package transformers",
        lambda: importlib.util.find_spec("transformers") is not None,
    ),
    "faces": (
        "the weights that `styleatlas models fetch faces` fetches",
        lambda: all(WEIGHTS[name].state == "fetched" for name in GROUPS["faces"]),
    ),
    "heic": ("the package pillow-heif", lambda: bool(importlib.util.find_spec("pillow_heif"))),
    "browser": (
        "Chromium, which `scripts/browser` finds or installs",
        lambda: bool(BROWSER and importlib.util.find_spec("playwright")),
    ),
    "npm": ("npm", lambda: shutil.which("npm") is not None),
    "ordinary_user": (
        "a user whom permissions bind",
        lambda: hasattr(os, "geteuid") and os.geteuid() != 0,
    ),
}

# Examples are the same everywhere and take the time they take.
hypothesis.settings.register_profile("tests", deadline=None, derandomize=True, database=None)
hypothesis.settings.register_profile("long", deadline=None, database=None, max_examples=2000)
hypothesis.settings.load_profile("tests")


def pytest_addoption(parser: pytest.Parser) -> None:
    help_ = "compute as a processor would that rounds otherwise; see processor.py"
    parser.addoption("--other-rounding", action="store_true", help=help_)


def pytest_configure(config: pytest.Config) -> None:
    """One thread each for tests that run beside one another: what is set here in the process that
    starts the others, they inherit before anything reads it."""
    if config.getoption("numprocesses", None):
        for name in ("OMP", "MKL", "OPENBLAS"):
            os.environ[f"{name}_NUM_THREADS"] = "1"
    if "PYTEST_XDIST_WORKER" in os.environ:
        torch.set_num_threads(1)
    if config.getoption("other_rounding"):
        from .processor import switch_on  # here: some tests load this file by itself

        switch_on()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """One for each core, as long as there are 4 GB for it: models of real sizes are among what is
    tested."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    try:
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError):
        return cores or 1
    return max(1, min(cores or 1, memory // (4 << 30)))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    lacking = {mark: what for mark, (what, here) in NEEDS.items() if not here()}
    for item in items:
        for mark, what in lacking.items():
            if item.get_closest_marker(mark):
                item.add_marker(pytest.mark.skip(f"needs {what}"))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """Every test draws the same numbers, whichever ran before it."""
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter,
) -> Generator[None, None, None]:
    """Says loudly, and last, what this machine could not run."""
    yield
    reasons = [str(report.longrepr[2]) for report in terminalreporter.getreports("skipped")]
    needs = Counter(
        reason.partition("needs ")[2] for reason in reasons if reason.startswith("Skipped: needs ")
    )
    if needs:
        each = ", ".join(
            f"{count} {'needs' if count == 1 else 'need'} {what}"
            for what, count in needs.most_common()
        )
        tests = "1 test" if needs.total() == 1 else f"{needs.total()} tests"
        terminalreporter.write_line(f"LEFT OUT: {tests}: {each}", yellow=True, bold=True)


def sha256_of(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


class CountableGenerator:
    """A `Generator` whose styles are an affine map of z and whose pixels are its styles.

    Pixel k of the red channel of an 8 x 8 image is style channel k, but for two: channel `DEAD`
    is not painted, and channel `GATED` is painted with the sign of channel `gate`, so that its
    effect depends on the image. The gate is an input channel unless told otherwise.

    Args:
        images_rendered: how many so far.
    """

    DEAD, GATED = 6, 9
    SIDE = 8

    def __init__(self, seed: int = 0, gate: int = 0) -> None:
        random = np.random.default_rng(seed)
        self.layout = StyleLayout.of(LAYERS)
        self.rows = (0,) * len(LAYERS)
        self.image_size = (self.SIDE, self.SIDE)
        self.identity = ModelIdentity(f"countable {seed}", sha256_of(f"generator {seed}"), {"z": 5})
        self.device, self.precision = torch.device("cpu"), "float32"
        self.z_dim, self.c_dim, self.notes = 5, 0, ()
        self.gate = gate
        self.images_rendered = 0
        columns = random.normal(size=(self.z_dim, self.layout.size))
        columns *= random.uniform(0.1, 0.25, self.layout.size) / np.linalg.norm(columns, axis=0)
        offset = random.uniform(-0.3, 0.3, self.layout.size)
        offset[0] = 0.02  # the gate opens to both sides
        self.matrix = torch.tensor(columns, dtype=torch.float32)
        self.offset = torch.tensor(offset, dtype=torch.float32)

    def map(
        self,
        z: Tensor,
        c: Tensor | None = None,
        *,
        truncation: float = 1.0,
        truncation_cutoff: int | None = None,
    ) -> Tensor:
        w = z[:, None].expand(-1, 2, -1)  # (n, 2, 5); the average w is 0
        cutoff = 2 if truncation_cutoff is None else truncation_cutoff
        return torch.cat([truncation * w[:, :cutoff], w[:, cutoff:]], 1)

    def styles(self, w: Tensor) -> Tensor:
        return w[:, 0] @ self.matrix + self.offset

    def render(self, styles: Tensor, noise: str = "const") -> Tensor:
        self.images_rendered += len(styles)
        painted = styles.clone()
        painted[:, self.DEAD] = 0
        painted[:, self.GATED] = styles[:, self.GATED] * styles[:, self.gate].sign()
        red = torch.nn.functional.pad(painted, (0, self.SIDE**2 - painted.shape[1]))
        red = red.unflatten(1, (self.SIDE, self.SIDE))
        return torch.stack([red, red * 0, red * 0], 1)

    def prefix(self, styles: Tensor, layer: Layer) -> CountablePrefix:
        return CountablePrefix(self, styles, layer)

    def resume(self, styles: Tensor, layer: Layer) -> CountableResumed:
        return CountableResumed(self, styles, layer)


class CountablePrefix:
    """A `Prefix` that shares nothing: every image is rendered as a whole."""

    def __init__(self, generator: CountableGenerator, styles: Tensor, layer: Layer) -> None:
        self.generator, self.styles, self.layer = generator, styles, layer

    def render(self, channel: int, values: Tensor) -> Tensor:
        assert 0 <= channel < self.layer.size
        styles = self.styles.repeat(len(values), 1)
        styles[:, self.layer.start + channel] = values.repeat_interleave(len(self.styles))
        return self.generator.render(styles)


class CountableResumed:
    """A `Resumed` that shares nothing: every image is rendered as a whole."""

    def __init__(self, generator: CountableGenerator, styles: Tensor, layer: Layer) -> None:
        self.generator, self.styles, self.layer = generator, styles, layer

    def render(self, styles: Tensor) -> Tensor:
        before = styles[:, : self.layer.start].unflatten(0, (-1, len(self.styles)))
        assert bool((before == self.styles[:, : self.layer.start]).all())
        return self.generator.render(styles)


class CountableEncoder:
    """A `JointEncoder` that reads red pixel k < `channels` as an angle in plane k of its space.

    A text is the unit sum of its words' vectors: `channel7` is `effect(7)`, any other word a
    random unit vector of its own.

    Args:
        texts_read: every text so far.
    """

    CONTEXT_LENGTH = 12

    def __init__(self, channels: int = 14, seed: int = 0) -> None:
        self.channels = channels
        self.width, self.image_size = 2 * channels, CountableGenerator.SIDE
        told = {"width": self.width, "quick_gelu": 0, "network": 1, "tokenizer": 2}
        sha256 = sha256_of(f"clip {seed} {channels}")
        self.identity = ModelIdentity(f"countable clip {seed}", sha256, told)
        self.device, self.precision = torch.device("cpu"), "float32"
        self.logit_scale = 100.0
        self.texts_read: list[str] = []
        # The planes lie askew in the space, so that nothing works by reading single dimensions.
        square = np.random.default_rng(seed).normal(size=(self.width, self.width))
        self.planes = np.linalg.qr(square)[0]

    def effect(self, channel: int, angle: float = 0.0) -> NDArray[np.float64]:
        """The unit vector along which an embedding moves as pixel `channel` passes `angle`."""
        across, along = self.planes[:, 2 * channel], self.planes[:, 2 * channel + 1]
        return -np.sin(angle) * across + np.cos(angle) * along

    def length(self, step: float) -> float:
        """How far the embedding moves as a pixel goes from angle - step to angle + step."""
        return abs(2 * np.sin(step)) / np.sqrt(self.channels)

    def images(self, images: Tensor) -> Tensor:
        angles = images[:, 0].flatten(1)[:, : self.channels].double()  # (n, channels)
        circles = torch.stack([angles.cos(), angles.sin()], 2).flatten(1)  # (n, width)
        planes = torch.from_numpy(self.planes)
        return (circles @ planes.t() / np.sqrt(self.channels)).float()

    def texts(self, texts: list[str]) -> Tensor:
        self.texts_read += texts
        for text in texts:
            if len(text.split()) + 2 > self.CONTEXT_LENGTH:
                raise PromptError(
                    f"prompt {text[:40]!r}: takes {len(text.split()) + 2} tokens of the "
                    f"{self.CONTEXT_LENGTH} that CLIP reads; shorten it"
                )
        sums = np.stack([sum(map(self._word, text.split())) for text in texts])
        return torch.from_numpy(sums / np.linalg.norm(sums, axis=1, keepdims=True)).float()

    def _word(self, word: str) -> NDArray[np.float64]:
        if word.startswith("channel"):
            return self.effect(int(word.removeprefix("channel")))
        vector = np.random.default_rng(list(word.encode())).normal(size=self.width)
        return vector / np.linalg.norm(vector)


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Ctrl-C raises KeyboardInterrupt, also where a shell in the background had it ignored;
    programs that are started inherit that."""
    known = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, known)


@pytest.fixture(autouse=True)
def _empty_user_folders(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, monkeypatch
) -> Iterator[None]:
    """No test sees or leaves anything in the user's own cache, library of mappers or folder of
    fetched weights, but for those tests that need these weights; child processes inherit this."""
    folder = tmp_path_factory.mktemp("cache")
    if request.node.get_closest_marker("faces") is None:
        monkeypatch.setenv("STYLEATLAS_MODELS", str(folder / "models"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
    monkeypatch.setenv("STYLEATLAS_MAPPERS", str(folder / "mappers"))
    monkeypatch.setattr("styleatlas.store.cache.user_cache_path", lambda name: folder / name)
    yield
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def make_generator() -> type[CountableGenerator]:
    return CountableGenerator


@pytest.fixture(scope="session")
def make_encoder() -> type[CountableEncoder]:
    return CountableEncoder


@pytest.fixture
def generator() -> CountableGenerator:
    return CountableGenerator()


@pytest.fixture
def encoder() -> CountableEncoder:
    return CountableEncoder()


@pytest.fixture(scope="session")
def draw() -> Callable[..., Atlas]:
    """Precompute an atlas, by the sweep if not told otherwise; `phrases` and `templates` fill its
    bank, the rest are settings."""

    def draw(
        generator: object,
        encoder: object,
        phrases: tuple[str, ...] = BANK,
        templates: tuple[str, ...] = ("{}", "look at {}"),
        **settings: float | str,
    ) -> Atlas:
        usual = {"table": "sweep", "images": IMAGES, "strength": STRENGTH}
        usual |= {"statistics": 500, "samples": 0}
        prompts = PromptSet(phrases, templates)
        chosen = PrecomputeSettings(**{**usual, **settings})
        return precompute(generator, encoder, prompts, chosen, lambda progress: None)

    return draw


@pytest.fixture(scope="session")
def countable_atlas(draw) -> Atlas:
    """The atlas of the countable pair."""
    return draw(CountableGenerator(), CountableEncoder())


@pytest.fixture
def countable_path(countable_atlas: Atlas, tmp_path: Path) -> Path:
    """The same atlas as a file."""
    path = tmp_path / "countable.h5"
    countable_atlas.write(path)
    return path


TINY = StyleGAN2Config(z_dim=6, w_dim=6, mapping_layers=2, channels={4: 5, 8: 4})


@pytest.fixture(scope="session")
def make_network() -> Callable[..., Network]:
    """A random network, if not told otherwise a StyleGAN2 of 8 x 8 pixels, with an average w, a
    noise and biases that are not zero."""

    def make(seed: int = 0, config: GeneratorConfig = TINY) -> Network:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            network = build(config)
            network.mapping.w_avg.normal_(std=0.3)
            for name, parameter in network.synthesis.named_parameters():
                if name.endswith("noise_strength"):
                    parameter.data.fill_(0.1)
                elif name.endswith("bias") and "affine" not in name:
                    parameter.data.normal_(std=0.1)
        return network

    return make


@pytest.fixture(scope="session")
def stylegan2(make_network) -> StyleGANGenerator:
    identity = ModelIdentity("tiny", sha256_of("tiny"), {"resolution": 8})
    return StyleGANGenerator(make_network(), identity)


@pytest.fixture(scope="session")
def write_checkpoint() -> Callable[..., Path]:
    """Write a network of configuration `TINY` as a native checkpoint.

    `tensors` and `header` replace what is written, so that a test can spoil either.
    """

    def write(
        path: Path,
        network: StyleGAN2,
        tensors: dict[str, Tensor] | None = None,
        header: object = None,
    ) -> Path:
        sizes = {key: getattr(TINY, key) for key in ("z_dim", "w_dim", "mapping_layers")}
        sound = {"family": "stylegan2", **sizes, "channels": TINY.channels, "image_channels": 3}
        state = network.state_dict() if tensors is None else tensors
        state = {key: tensor.contiguous() for key, tensor in state.items()}
        save_file(state, path, {"styleatlas": json.dumps(header or sound)})
        return path

    return write


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory, make_network, write_checkpoint) -> Path:
    """A tiny StyleGAN2 as a file that `load_generator` reads."""
    folder = tmp_path_factory.mktemp("checkpoint")
    return write_checkpoint(folder / "tiny.safetensors", make_network())


@pytest.fixture(scope="session")
def clip_folder(tmp_path_factory) -> Path:
    """A random CLIP in open_clip's layout, with a vocabulary of single letters."""
    from open_clip.model import CLIP

    folder = tmp_path_factory.mktemp("letters")
    merges = "#version: letters\nf a\nc e</w>"
    (folder / "bpe.txt.gz").write_bytes(gzip.compress(merges.encode(), mtime=0))
    vision = {"image_size": 16, "patch_size": 8, "width": 16, "layers": 1, "head_width": 8}
    text = {"context_length": 20, "vocab_size": 516, "width": 16, "heads": 2, "layers": 1}
    model = {"embed_dim": 12, "vision_cfg": vision, "text_cfg": text}
    preprocess = {"mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25]}
    config = {"model_cfg": model, "preprocess_cfg": preprocess}
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        save_file(CLIP(**model).state_dict(), folder / "open_clip_model.safetensors")
    return folder


@pytest.fixture(scope="session")
def drawings() -> Callable[..., Image.Image]:
    """Avatars by their seeds, as large as people keep pictures."""
    from styleatlas import load_generator, styles_from_seeds
    from styleatlas.engine.models.preprocess import to_bytes

    generator = load_generator("avatars", "cpu")

    def drawing(seed: int, side: int = 160) -> Image.Image:
        with torch.inference_mode():
            levels = to_bytes(generator.render(styles_from_seeds(generator, [seed], 0.7)))
        image = Image.fromarray(levels[0].numpy())
        return image.resize((side, side), Image.Resampling.LANCZOS)

    return drawing


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service that lets everybody in, and serves as fast as anybody asks."""
    from .service import running  # here: some tests load this file by itself

    with running(tmp_path_factory.mktemp("service") / "kept", "--rate", 10_000) as service:
        yield service


@pytest.fixture(scope="session")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service behind a token."""
    from .service import TOKEN, running

    folder = tmp_path_factory.mktemp("locked")
    (folder / "token").write_text(f"{TOKEN}\n")
    options = ("--token-file", folder / "token", "--rate", 10_000)
    with running(folder / "kept", *options) as service:
        yield service


@pytest.fixture
def http(service: Service) -> Iterator[httpx.Client]:
    with service.client() as client:
        yield client
