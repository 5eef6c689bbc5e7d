"""The object people hold: an atlas with its generator, and CLIP where it is needed."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from ..store.atlas import Atlas
from ..store.errors import DirectionError, OptionError, wrong_type
from ..store.paths import require_clip
from ..store.queries import cosine_if_alike
from ..store.registry import told_with
from .fallbacks.aims import Aims
from .fallbacks.best import BestOfWays
from .fallbacks.ways import Fallbacks, MapperWay, OptimiseWay
from .models.identity import Identity, load_identity, usual_identity
from .models.inputs import floats
from .models.latents import Latents, latents_of, read_latents
from .models.load import clip_of, generator_as_drawn, generator_of
from .models.photo_encoders import load_photo_encoder
from .models.protocols import Generator, JointEncoder, PhotoEncoder
from .models.sampling import render_batches, w_from_seeds
from .models.spaces import Space
from .models.subject import Subject
from .models.tuned import Moved, moved
from .photos.cuts import Align, Faces
from .photos.inversion import InvertSettings
from .photos.photo import Photo
from .photos.photographs import Inverted, Photographs
from .result import EditResult
from .steering.alpha import MAX_ALPHA
from .steering.direction import Direction
from .steering.edits import Edit, as_meant, meant_as_one
from .steering.request import EditMethod, EditRequest, choice_of, edits_of
from .steering.status import Status
from .steering.texts import TextEmbedder
from .table import TableEditor

Path = str | os.PathLike[str]

_OPTIONS = (
    *("styles", "seeds", "latents", "neutral", "target", "edits", "method", "alpha"),
    *("probability", "truncation", "label", "latent_space"),
    *("photo", "align", "face", "invert", "cache"),
)


class Editor(TableEditor):
    """Edits images by pairs of prompts.

    Args:
        atlas: the generator's atlas, or its path or registered name.
        generator: the generator it was drawn with, or its file or name; None: the one whose name
            the atlas knows.
        encoder: the CLIP it was drawn with, its file or name, or a function that loads it; None:
            the one whose name the atlas knows. What is not given as an encoder is loaded when it is
            first needed: for prompts that are neither in the bank nor in the cache, to find alphas,
            and to measure results.
        device: of models that are loaded here; the best there is if not given.
        fallbacks: what there is beside the table, for methods other than `direction`.
        photo_encoder: where the latents of photos begin, in place of the atlas's samples: one for
            this generator, or its file, which is loaded for the first photo.
        tuned: whether a generator of other weights is one that was tuned from the atlas's own, as
            to a photo, and is taken for it; `moved` says how far it moved.

    Raises:
        FingerprintError: the atlas belongs to another generator or CLIP.
        OptionError: something else in their place, or a name that the atlas does not tell.
        AtlasError, CheckpointError: a file that cannot be read.
    """

    def __init__(
        self,
        atlas: Atlas | Path,
        generator: Generator | Path | None = None,
        encoder: JointEncoder | Callable[[], JointEncoder] | Path | None = None,
        device: str | None = None,
        fallbacks: Fallbacks | None = None,
        tuned: bool = False,
        photo_encoder: PhotoEncoder | Path | None = None,
    ) -> None:
        if not isinstance(atlas, Atlas):
            if not isinstance(atlas, str | os.PathLike):
                raise wrong_type("atlas", atlas, "an Atlas, its file, or a registered name")
            atlas = Atlas.open(atlas)
        if generator is None or isinstance(generator, str | os.PathLike):
            generator = generator_of(atlas, generator, device, tuned)
        elif not hasattr(generator, "render"):
            raise wrong_type("generator", generator, "a generator, its file, or a registered name")
        generator = generator_as_drawn(atlas, generator, tuned)
        if encoder is None or isinstance(encoder, str | os.PathLike):
            if encoder is not None:
                require_clip(os.fspath(encoder))
            named, known = encoder, atlas
            texts = TextEmbedder(atlas, lambda: clip_of(known, named, device))
        elif callable(encoder):
            texts = TextEmbedder(atlas, encoder)
        elif hasattr(encoder, "images"):
            given = encoder
            texts = TextEmbedder(atlas, lambda: given)
            _ = texts.encoder  # refuses another CLIP now
        else:
            raise wrong_type("encoder", encoder, "a CLIP, its file, or a name")
        if not (photo_encoder is None or isinstance(photo_encoder, str | os.PathLike)) and (
            not hasattr(photo_encoder, "encode")
        ):
            raise wrong_type("photo_encoder", photo_encoder, "an encoder of photos, or its file")
        super().__init__(atlas, generator, texts)
        self.fallbacks = fallbacks or Fallbacks()
        self._photo_encoder = photo_encoder

    @cached_property
    def moved(self) -> Moved | None:
        """How far the styles of a generator that was tuned from the atlas's own moved; None of the
        atlas's own."""
        if self.generator.identity.tuned_from is None:
            return None
        return moved(self.atlas, self.generator)

    def __repr__(self) -> str:
        origin = self.atlas.fingerprint
        return f"<Editor of {origin.generator.name} by {origin.clip.name}: {self.atlas!r}>"

    def edit(
        self,
        styles: ArrayLike | Tensor | Subject | None = None,
        *,
        seeds: int | Iterable[int] | None = None,
        latents: Path | Latents | ArrayLike | Tensor | None = None,
        photo: Path | Photo | Inverted | Sequence[Path | Photo] | None = None,
        neutral: str | None = None,
        target: str | None = None,
        edits: Sequence[Edit | str] = (),
        method: EditMethod = "auto",
        alpha: float | None = None,
        probability: float | None = None,
        truncation: float = 0.7,
        label: int | None = None,
        latent_space: Space | None = None,
        align: Align | None = None,
        face: Faces = 1,
        invert: InvertSettings | None = None,
        cache: bool | Path = True,
        **choice: Any,
    ) -> EditResult:
        """The one way to edit, of images that are named by one of `seeds`, `styles`, `latents` and
        `photo`.

        Prompts are read before CLIP reads them: "a face -> a face without a hat" is "a face with a
        hat -> a face"; what stands in quotation marks is taken as it is (see `as_meant`).

        `method` is how:

        - `direction`: the direction by samples or by the table, apart into phrases of the bank
          where a prompt says many things (see `parts`).
        - `mapper`: a mapper trained for these prompts, `optimize`: an optimisation that begins at
          the direction's result; either for every image.
        - `auto`: the direction; where CLIP then does not see the target as in samples that have it,
          or, where they do not tell, with less than `table.ENOUGH`, or than `probability` if that
          is less, a mapper, if there is one, and where that is not enough either and the direction
          is not by samples, an optimisation; whatever CLIP saw best is kept. What samples show
          nothing of is left at the direction. With an alpha, with something to keep, with layers
          or channels chosen and for several edits it is `direction`, as nothing else can follow
          these.

        Args:
            styles: (n, C), or (C,) for one image; arrays, lists and tensors of any float type, or a
                `Subject` where more edits of the same images follow.
            seeds: whole numbers; see `w_from_seeds`.
            latents: w+ (n, num_ws, w_dim) or w (n, w_dim), a file of latents or a folder of them.
            photo: pictures of your own, or what `invert` made of them; the result's `photos` go
                back into them.
            neutral, target: where from and where to.
            edits: more of them, as `Edit` or as "a face -> a sad face : 1.5".
            alpha: how far every direction goes, times its weight; found for every image if not
                given, see `apply`. A negative one makes the edits the other way round.
            probability: that alphas which are found are to reach; not beside an alpha.
            truncation, label: of seeds, and of z.
            latent_space: what `latents` are, z, w, w+ or s, where name and shape leave it open, as
                (num_ws, w_dim) does: one image's w+, or w of num_ws images.
            align, face, invert, cache: of photos, see `invert`.
            choice: what `Choice` takes: beta, channels, keep, layers, exclude, rule.

        Raises:
            OptionError: an option that is unknown, of another type or out of its range.
            DirectionError: the table knows no direction, and the method is `direction`.
            PromptError: a prompt that cannot be embedded.
            StyleAtlasError: what cannot be read or loaded.
        """
        request = EditRequest(
            edits_of(neutral, target, edits),
            choice_of(choice, _OPTIONS),
            method,
            None if alpha is None else (alpha,),
            probability,
            truncation=truncation,
            label=label,
        )
        inverted = None
        if photo is None:
            subject = self.subject(styles, seeds, latents, truncation, label, latent_space)
        elif all(given is None for given in (styles, seeds, latents)):
            inverted = self.invert(photo, align=align, face=face, settings=invert, cache=cache)
            subject = Subject(self.generator, inverted.inversion.styles, inverted.inversion.w)
        else:
            raise OptionError("images: give one of seeds, styles, latents and photo")
        result = self._edited(subject, request)
        if inverted is None:
            return result
        return replace(result, photos=inverted.edited(subject.images, result.images))

    def invert(
        self,
        photo: Path | Photo | Inverted | Sequence[Path | Photo],
        *,
        align: Align | None = None,
        face: Faces = 1,
        settings: InvertSettings | None = None,
        cache: bool | Path = True,
        state: Path | None = None,
        frames: int = 0,
    ) -> Inverted:
        """What the generator draws photos by: the part of each where it knows things to be is cut
        out and inverted.

        Args:
            photo: a picture's file, a `Photo`, or some of them; what this made is handed back.
            align: `face`, as FFHQ's faces lie; `none`, the whole picture; or (x, y, size), the part
                whose top left corner that is, so many pixels wide. Usual for the generator if not
                given, see `usual_align`.
            face: the number of a face, counted from 1, the largest; several, or `all`.
            settings: how to invert.
            cache: whether inversions are remembered between runs, in the user's cache; or the
                folder that they are remembered in.
            state: a file that will be written of them; `<state>.work` keeps where they stand.
            frames: how many steps of the way to keep in `inversion.path`, at most; then none is
                taken from those remembered.

        Raises:
            InputError: no such picture, no such face in it, or one of another shape.
            OptionError: wrong options, or no samples to look up in.
            CheckpointError: faces are to be found, and what finds them was not fetched.
        """
        return self._photographs.invert(photo, align, face, settings, cache, state, frames)

    @cached_property
    def photo_encoder(self) -> PhotoEncoder | None:
        """What photos' latents begin by; None where it is the atlas's samples.

        Raises:
            CheckpointError: its file cannot be read as an encoder of photos.
            FingerprintError: it is known to be of another generator.
        """
        given = self._photo_encoder
        if isinstance(given, str | os.PathLike):
            return load_photo_encoder(given, self.generator)
        return given

    @cached_property
    def _photographs(self) -> Photographs:
        return Photographs(
            self.generator,
            self.atlas,
            lambda: self.texts.encoder,
            self.fallbacks.announce,
            self.fallbacks.report,
            self.photo_encoder,
        )

    def _edited(self, subject: Subject, request: EditRequest) -> EditResult:
        meant = [pair for edit in request.edits for pair in as_meant(edit)]
        self._warn_of_alike(meant)
        if request.by_table(meant):
            return self._by_table(subject, meant, request)
        if len(meant) > 1:
            _ = meant_as_one(request.edits[0].neutral, request.edits[0].target)  # which refuses it
        return self._by_ways(subject, meant[0], request)

    def subject(
        self,
        styles: ArrayLike | Tensor | Subject | None = None,
        seeds: int | Iterable[int] | None = None,
        latents: Path | Latents | ArrayLike | Tensor | None = None,
        truncation: float = 0.7,
        label: int | None = None,
        latent_space: Space | None = None,
    ) -> Subject:
        """The images that one of the three names; see `edit`.

        Raises:
            OptionError: none or several of them, or arrays of another shape or type.
        """
        if sum(x is not None for x in (styles, seeds, latents)) != 1:
            raise OptionError("images: give one of seeds, styles and latents")
        if isinstance(styles, Subject):
            return styles
        if styles is not None:
            width = self.generator.layout.size
            return Subject(self.generator, floats("styles", styles, (width,)))
        if seeds is not None:
            w = w_from_seeds(self.generator, seeds, truncation, label)
            return Subject(self.generator, self.generator.styles(w), w, truncation)
        if isinstance(latents, str | os.PathLike):
            latents = read_latents(
                latents, self.generator, truncation=truncation, label=label, space=latent_space
            )
        if isinstance(latents, Latents):
            return Subject(self.generator, latents.styles, latents.w)
        found, known = latents_of(latents, self.generator, latent_space, truncation, label)
        return Subject(self.generator, found, known)

    def _by_table(
        self, subject: Subject, edits: Sequence[Edit], request: EditRequest
    ) -> EditResult:
        """Edits made together, by their directions."""
        alpha = None if request.alphas is None else request.alphas[0]
        if alpha is not None and -MAX_ALPHA <= alpha < 0:
            edits, alpha = [edit.back() for edit in edits], -alpha
        found = edits if alpha is not None else [p for edit in edits for p in self.parts(edit)]
        directions, weights = self.directions(found, request.choice)
        self._warn(directions)
        return self.apply(subject, directions, alpha, weights, request.probability)

    def _by_ways(self, subject: Subject, edit: Edit, request: EditRequest) -> EditResult:
        """An edit by one way after the other, see `edit`; the best so far of each image is kept."""
        if edit.weight != 1:
            raise OptionError(
                f"weight {edit.weight:g}: only directions have one; choose --method direction"
            )
        parts = self.parts(edit)
        everything, method = list(range(len(subject))), request.method
        table: EditResult | None = None
        why = []
        directions: list[Direction] = []
        try:
            directions, weights = self.directions(parts, request.choice)
        except DirectionError as error:
            why.append(f"no direction: {error}")
        if directions and method != "mapper":
            self._warn(directions)
            table = self.apply(subject, directions, None, weights, request.probability)
            why.append(table.why)
            if method == "auto" and "unsupported" in table.status:
                return table  # nobody knows that there is anything to look for
        aims = Aims(self, subject, parts, directions, request.probability)
        best = BestOfWays(subject.styles, aims.see)
        if table is not None and method == "auto":
            best.take("direction", everything, table.styles)
        begun = subject.styles if table is None else table.styles.clone()
        if method == "mapper" or (method == "auto" and best.open):
            mapper = MapperWay(self.generator, self.atlas.fingerprint.clip, self.fallbacks.folder)
            path = mapper.find(edit)
            if path and method == "auto" and subject.w is None and mapper.needs_w(path):
                why.append(f"no w for the mapper {path.name}")
            elif path or method == "mapper":
                rows = everything if method == "mapper" else best.open
                best.take("mapper", rows, mapper(subject.at(rows), begun[rows], edit))
                if path:
                    of = f"{len(rows)} of {len(subject)} images"
                    why.append(f"{of} by the mapper {path.name}")
        # What samples show, and the direction could not bring about, an image mostly has no room
        # for, as hair under a hat: an optimisation would change all else to please CLIP.
        told = bool(directions) and all(direction.levels_known for direction in directions)
        if method == "optimize" or (method == "auto" and best.open and not told):
            rows = everything if method == "optimize" else best.open
            sigma = torch.from_numpy(self.atlas.style_std)
            optimise = OptimiseWay(
                self.generator, self.texts, sigma, self._identity, self.fallbacks
            )
            best.take("optimize", rows, optimise(subject.at(rows), begun[rows], edit))
            of = f"{len(rows)} of {len(subject)} images"
            why.append(f"{of} optimised in {self.fallbacks.settings.space}")
        return self._best(subject, parts, best, aims, table, "; ".join(why))

    @torch.no_grad()  # not inference_mode: people go on with the tensors of a result
    def _best(
        self,
        subject: Subject,
        parts: tuple[Edit, ...],
        best: BestOfWays,
        aims: Aims,
        table: EditResult | None,
        why: str,
    ) -> EditResult:
        """The result of several ways; what the table did counts for the images it kept."""
        by_table = np.array([way == "direction" for way in best.ways])[:, None]
        status: list[Status | None] = [None] * len(subject) if table is None else [*table.status]
        others = [i for i in range(len(subject)) if table is None or not by_table[i, 0]]
        if others:
            for i, word in zip(others, aims.status(others, best.styles[others]), strict=True):
                status[i] = word
        none = np.zeros((len(subject), 0), np.float32)
        return EditResult(
            torch.cat(list(render_batches(self.generator, best.styles))),
            best.styles,
            subject.styles,
            parts if table is None else table.edits,
            () if table is None else table.directions,
            none if table is None else table.alphas * by_table,
            () if table is None else table.counter,
            none if table is None else table.counter_alphas * by_table,
            () if table is None else table.keep,
            tuple(best.ways),
            tuple(best.tried),
            why,
            tuple(status),
        )

    def _warn_of_alike(self, edits: Sequence[Edit]) -> None:
        """Says of near-equal prompts, before any picture is made, what they are."""
        for edit in edits:
            cosine = cosine_if_alike(self.texts.embed(edit.neutral), self.texts.embed(edit.target))
            if cosine is not None:
                self.fallbacks.announce(
                    f'"{edit.neutral}" and "{edit.target}": are nearly the same to CLIP (cosine '
                    f"{cosine:.5f}), so what the edit does may be chance; say what differs"
                )

    def _warn(self, directions: Sequence[Direction]) -> None:
        """Says of directions, before any picture is made, what samples cannot vouch for."""
        for direction in directions:
            for line in direction.doubts(len(self.atlas.samples or ())):
                self.fallbacks.announce(line)

    def _identity(self) -> Identity | None:
        """What an optimisation's identity loss sees."""
        if self.fallbacks.identity is not None:
            return self.fallbacks.identity()
        source = usual_identity(self.generator)
        return load_identity(source, self.texts.encoder, self.generator.device)


def load(
    name: Path | None = None,
    *,
    atlas: Atlas | Path | None = None,
    generator: Generator | Path | None = None,
    clip: JointEncoder | Path | None = None,
    device: str | None = None,
    tuned: bool = False,
    photo_encoder: PhotoEncoder | Path | None = None,
) -> Editor:
    """An `Editor` of a registered name, or of an atlas with its models:

        styleatlas.load(atlas="ffhq.h5", generator="ffhq.pkl", clip="ViT-B-32.pt", device="cuda")

    A generator or CLIP that is not given is the one whose name the atlas knows. `tuned` takes a
    generator that was tuned from the atlas's own, and `photo_encoder` finds the latents of photos.

    Raises:
        OptionError: neither a name nor an atlas, or both.
        StyleAtlasError: see `Editor`.
    """
    if (name is None) == (atlas is None):
        raise OptionError(f"load: give a name, such as {told_with('atlas')}, or an atlas")
    source = name if atlas is None else atlas
    return Editor(source, generator, clip, device, None, tuned, photo_encoder)  # type: ignore[arg-type]
