"""Of `gpu.py`: what it runs on, and whether it computes there what a CPU does."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from gpu_place import (
    Place,
    Row,
    Rows,
    apart,
    encoder_of,
    generator_of,
    judged,
    styles_of,
    tf32,
)
from gpu_processes import ending
from torch import Tensor

import styleatlas
from styleatlas.engine.models.captured import CapturedRender
from styleatlas.engine.models.generator import StyleGANGenerator
from styleatlas.store.version import LIBRARY
from styleatlas.tests.checkpoint_files import golden, nvidia_pickle, rosinality_file

ROOT = Path(__file__).resolve().parents[1]
GOLDENS = ("sg2_skip_map8", "sg3_t", "ros_g_ema")


def card(place: Place) -> Rows:
    """What it is measured on."""
    told: Row = {
        "library": LIBRARY,
        "package": str(Path(styleatlas.__file__).resolve().parent),
        "commit": _said("git", "-C", str(ROOT), "rev-parse", "HEAD"),
        "python": platform.python_version(),
        "system": platform.platform(),
        "processors": os.cpu_count(),
        **{name: _version(name) for name in ("torch", "numpy", "open_clip_torch", "pillow")},
        "threads": torch.get_num_threads(),
    }
    if place.cuda:
        about = torch.cuda.get_device_properties(place.device)
        free, total = torch.cuda.mem_get_info(place.device)
        told |= {
            "card": about.name,
            "cards": torch.cuda.device_count(),
            "capability": f"{about.major}.{about.minor}",
            "multiprocessors": about.multi_processor_count,
            "GiB": round(total / 2**30, 1),
            "GiB free": round(free / 2**30, 1),
            "cuda": torch.version.cuda,
            "cudnn": torch.backends.cudnn.version(),
            "driver": _said(
                *("nvidia-smi", "--query-gpu=driver_version,power.limit,clocks.max.sm"),
                "--format=csv,noheader",
            ),
        }
    yield told


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _said(*command: str) -> str | None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def goldens(place: Place) -> Rows:
    """Whole generators of other programs, read from files as theirs are, against their arrays."""
    for name in GOLDENS:
        state, attributes, arrays = golden(name)
        with TemporaryDirectory() as folder:
            path = Path(folder) / "generator"
            if name == "ros_g_ema":
                rosinality_file(path, state, torch.tensor(arrays["latent_avg"]))
            else:
                nvidia_pickle(path, state, attributes)
            for precision, (kind, allowed) in place.precisions().items():
                generator = styleatlas.load_generator(path, str(place.device), kind)
                with torch.inference_mode(), tf32(allowed):
                    z = torch.tensor(arrays["z"], device=place.device)
                    w = generator.map(z, truncation=0.7)
                    image = generator.render(generator.styles(w))
                wanted = torch.tensor(arrays["ws" if "ws" in arrays else "latent"])
                row: Row = {"golden": name, "precision": precision}
                row |= {f"w {key}": x for key, x in apart(w[:, 0], _row(wanted)).items()}
                yield row | judged(apart(image, torch.tensor(arrays["img"])), precision)


def _row(w: Tensor) -> Tensor:
    return w[:, 0] if w.ndim == 3 else w


def agreement(place: Place) -> Rows:
    """Pictures, gradients and embeddings against those of the CPU, in the real shapes."""
    here = Place(torch.device("cpu"), place.quick, place.until)
    for name in place.generators:
        exact = generator_of(here, name, "float32")
        styles = styles_of(exact, 1)
        with torch.inference_mode():
            wanted = exact.render(styles)
        for precision, (kind, allowed) in place.precisions().items():
            generator = generator_of(place, name, kind)
            with torch.inference_mode(), tf32(allowed):
                found = generator.render(styles.to(place.device))
            row = judged(apart(found, wanted), precision)
            yield {"image of": name, "precision": precision, **row}
            if name == place.small and precision == "float32":
                yield _gradient(exact, generator, styles, wanted)
        if place.left < 0:
            return
    yield from _embeddings(place, here)


def _gradient(
    exact: StyleGANGenerator, generator: StyleGANGenerator, styles: Tensor, image: Tensor
) -> Row:
    towards = torch.randn(image.shape, generator=torch.Generator().manual_seed(1))
    found = []
    with tf32(False):
        for model in (exact, generator):
            leaf = styles.clone().to(model.device).requires_grad_()
            (model.render(leaf) * towards.to(model.device)).sum().backward()
            found.append(leaf.grad)
    row = apart(found[1], found[0])
    return {"gradient of": exact.identity.name, "precision": "float32", **judged(row, "float32")}


def _embeddings(place: Place, here: Place) -> Rows:
    images = torch.rand(4, 3, 256, 256, generator=torch.Generator().manual_seed(0)) * 2 - 1
    texts = ["a face", "a smiling face with glasses"]
    exact = encoder_of(here, "ViT-B/32", "float32")
    with torch.inference_mode():
        wanted = torch.cat([exact.images(images), exact.texts(texts)])
    for precision, (kind, allowed) in place.precisions().items():
        encoder = encoder_of(place, "ViT-B/32", kind)
        with torch.inference_mode(), tf32(allowed):
            seen, read = encoder.images(images.to(place.device)), encoder.texts(texts)
        cosine = float((torch.cat([seen, read]).cpu() * wanted).sum(1).min())
        told = {"lowest cosine": round(cosine, 6), "within": cosine > 0.9995}
        yield {"embeddings of": "ViT-B/32", "precision": precision, **told}


@torch.inference_mode()
def captured(place: Place) -> Rows:
    """Renders played back from CUDA graphs against the same ones launched, in turns."""
    if not place.cuda:
        yield {"left out": "needs a GPU"}
        return
    for name in place.generators:
        for precision in ("float32", "bfloat16"):
            generator = generator_of(place, name, precision)
            played = CapturedRender(generator)
            both = styles_of(generator, 2)
            for styles in (both[:1], both[1:], both, both[:1]):
                row = apart(played(styles), generator.render(styles).cpu())
                told = {"played back": name, "precision": precision, "images": len(styles)}
                yield told | row | {"within": row["rms"] <= 1e-3}


def tests(place: Place) -> Rows:
    """Those marked `gpu`, by pytest, where it is installed with what the tests need."""
    if _version("pytest") is None:
        yield {"left out": "pytest is not installed"}
        return
    chosen = sorted(
        str(path.relative_to(ROOT))
        for path in (ROOT / "tests").rglob("test_*.py")
        if "pytest.mark.gpu" in path.read_text("utf-8")
    )
    command = [sys.executable, "-m", "pytest", "-q", "-m", "gpu", "-p", "no:cacheprovider", *chosen]
    heard = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    try:
        with ending(command, cwd=ROOT, **heard) as child:
            assert child.stdout is not None
            with child.stdout:
                told, _ = child.communicate(timeout=max(5.0, place.left))
        said = f"exit {child.returncode}"
    except subprocess.TimeoutExpired as error:
        told, said = error.stdout or "", "cut off"
        told = told.decode("utf-8", "replace") if isinstance(told, bytes) else told
    lines = told.strip().splitlines()
    yield {"ended": said, "said": lines[-1] if lines else "", "end": lines[-60:]}
