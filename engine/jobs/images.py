"""The images that a job starts from: of seeds, of a file of latents, or of photos."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from ...store.errors import InputError
from ...store.records import Record
from ..checkpoints.checkpoint import excerpt
from ..models.latents import read_latents
from ..models.protocols import Generator
from ..models.sampling import w_from_seeds
from ..models.spaces import Space


@dataclass(frozen=True, eq=False)
class Images:
    """What a job starts from.

    Args:
        styles: (n, C).
        w: of the same images, (n, num_ws, w_dim); None where they are of styles alone.
        names: what people call each.
        origins: where each comes from: its seed, or its place among the latents of a file.
        file: the sha256 of that file; None for others.
        psi: the truncation that seeds were drawn at; None for others.
        spaces: what a file's arrays were taken for, see `Latents`.
        photos: what a recipe keeps of each, of photos; see `PhotoJob.inputs`.
    """

    styles: Tensor
    w: Tensor | None
    names: tuple[str, ...]
    origins: tuple[int, ...]
    file: str | None = None
    psi: float | None = None
    spaces: tuple[str, ...] = ()
    photos: tuple[Record, ...] = ()

    @classmethod
    def of_seeds(
        cls, generator: Generator, seeds: Sequence[int], truncation: float, label: int | None
    ) -> Images:
        """See `w_from_seeds`."""
        w = w_from_seeds(generator, seeds, truncation, label)
        names = tuple(f"seed {seed}" for seed in seeds)
        return cls(generator.styles(w), w, names, tuple(seeds), psi=truncation)

    @classmethod
    def of_file(
        cls,
        generator: Generator,
        path: Path,
        truncation: float,
        label: int | None,
        space: Space | None = None,
    ) -> Images:
        """A file of latents or a folder of them; see `read_latents`."""
        read = read_latents(path, generator, truncation=truncation, label=label, space=space)
        places = tuple(range(len(read.names)))
        return cls(read.styles, read.w, read.names, places, read.sha256, spaces=read.spaces)

    @property
    def inputs(self) -> dict[str, Any]:
        """Where they come from, as a recipe keeps it."""
        if self.photos:
            return {"photos": list(self.photos)}
        if self.file is None:
            return {"seeds": list(self.origins)}
        return {
            "latents": self.file,
            "places": list(self.origins),
            "spaces": list(self.spaces),
        }

    def only(self, inputs: Mapping[str, Any], path: Path | str) -> Images:
        """Those images of the file of latents that a recipe names.

        Raises:
            InputError: it was made of another file, or of seeds, or the file's arrays are taken for
                something else than then.
        """
        places = inputs.get("places")
        if self.file is None or inputs.get("latents") != self.file:
            raise InputError(f"{path}: is not what the picture was made of; name that file")
        # Before recipes told it, one image's w+ was taken for w of num_ws images.
        new = {"one w+"} & set(self.spaces)
        then = inputs.get("spaces", ["w"] if new else list(self.spaces))
        if then != list(self.spaces):
            told = excerpt(", ".join(map(str, then)) if isinstance(then, list) else str(then))
            raise InputError(
                f"{path}: is taken for {', '.join(self.spaces)}, and was for {told} as the picture "
                "was made; say so by --latent-space"
            )
        index = {origin: i for i, origin in enumerate(self.origins)}
        if (
            not isinstance(places, list)
            or not places
            or not all(type(place) is int and place in index for place in places)
        ):
            raise InputError("recipe: places must be numbers of latents of the file")
        return self.at([index[place] for place in places])

    def at(self, chosen: Sequence[int]) -> Images:
        """Some of them."""
        names, origins = zip(*((self.names[i], self.origins[i]) for i in chosen), strict=True)
        w = None if self.w is None else self.w[list(chosen)]
        return replace(
            self,
            styles=self.styles[list(chosen)],
            w=w,
            names=names,
            origins=origins,
            photos=tuple(self.photos[i] for i in chosen) if self.photos else (),
        )
