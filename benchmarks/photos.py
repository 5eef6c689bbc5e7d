"""A large photo, read, cut, laid back and written: `python benchmarks/photos.py [--megapixels 48]`.

Makes a JPEG of so many pixels, 4:3, on its side by EXIF, baseline and progressive, and prints for
each step its seconds at work and by how many MiB the process then had grown at most; and what
decoding at a quarter of the size takes, which is not done (docs/photos.md).
"""

from __future__ import annotations

import multiprocessing
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import click
import numpy as np
from PIL import Image

from styleatlas.engine.photos.align import crop, face_quad, laid_back
from styleatlas.engine.photos.read import read_photo
from styleatlas.engine.photos.write import write_photo

SIZE = (1024, 1024)
POINTS = np.array([[0.42, 0.41], [0.55, 0.42], [0.48, 0.48], [0.43, 0.53], [0.52, 0.54]])
"""Of a face, in shares of the upright photo's width."""
Result = TypeVar("Result")


def step(name: str, work: Callable[[], Result]) -> Result:
    start = time.process_time()
    result = work()
    seconds = time.process_time() - start
    print(f"  {name:<28}{seconds:6.2f} s {grown():6.0f} MiB")
    return result


def grown() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024 - START


def make(path: Path, pixels: float, progressive: bool) -> None:
    """Smooth noise, which a JPEG holds in about a quarter of a byte a pixel."""
    height = round((pixels * 3 / 4) ** 0.5)
    noise = np.random.default_rng(0).integers(0, 256, (height // 12, height // 9, 3), np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6
    large = Image.fromarray(noise).resize((height * 4 // 3, height), Image.Resampling.BICUBIC)
    large.save(path, quality=92, exif=exif.tobytes(), progressive=progressive)


def quarter(path: Path) -> None:
    with Image.open(path) as image:
        image.draft("RGB", (image.width // 4, image.height // 4))
        image.load()


@click.command()
@click.option("--megapixels", default=48.0, show_default=True)
@click.option("--progressive", is_flag=True, help="A progressive JPEG.")
def main(megapixels: float, progressive: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "photo.jpg"
        # In a process of its own, whose memory does not count.
        process = multiprocessing.get_context("spawn").Process(
            target=make, args=(path, megapixels * 1e6, progressive)
        )
        process.start()
        process.join()
        print(f"{path.stat().st_size / 1e6:.1f} MB, {'progressive' if progressive else 'baseline'}")
        photo = step("read", lambda: read_photo(path))
        quad = face_quad(POINTS * photo.shape[1])
        cut = step("crop at 1,024 px", lambda: crop(photo, quad, SIZE))
        laid = step("lay back", lambda: laid_back(cut, quad, photo.shape))
        pixels = photo.pixels.copy()
        pixels[laid.rows, laid.columns][laid.inside] = laid.pixels[laid.inside]
        step("write", lambda: write_photo(photo, pixels, path.with_name("edited.jpg")))
        step("(decode at a quarter)", lambda: quarter(path))


START = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

if __name__ == "__main__":
    main()
