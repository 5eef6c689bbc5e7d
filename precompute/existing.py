"""An atlas that is there already: what it has stays, and it gets more samples, what is read of
them, a table where it had none, or the prompts of another text tower."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from ..engine.models.draft import Draft
from ..engine.models.features import Features
from ..engine.models.protocols import Generator, JointEncoder
from ..engine.models.sampling import w_shape
from ..engine.steering.samples import SampleMap
from ..engine.steering.texts import encode_with, templates_of
from ..prompts.embed import OnEmbedded, build_bank
from ..prompts.sets import PromptSet, unknown
from ..store.atlas import Atlas
from ..store.errors import AtlasError, AtlasFormatError, FingerprintError, OptionError
from ..store.fingerprint import todays_settings, told
from ..store.sample_set import SampleSet
from ..store.shards import Run, WorkFolder
from ..store.version import LIBRARY
from ..store.work import differences, value_parts
from .blocks import Setup
from .build import fingerprint_of, with_readers, worker_of
from .drawing import Drawing, meaningless
from .estimate import estimate
from .executors import InThisProcess
from .features import sources_of, widths_of
from .plan import Plan, feature_blocks, pulled_blocks, sample_blocks
from .probes import Probes
from .samples import pulled_count
from .scheduler import RunProgress, Scheduler
from .settings import PrecomputeSettings
from .worker import Sources

_MEND = "choose another -o, or delete the file"
_SAMPLED = ("samples", "sample_psi", "seed", "label")  # the settings that say which there are


@dataclass(frozen=True, eq=False)
class Extension:
    """A sound atlas, and the samples that it is to have.

    Args:
        atlas: as it is.
        settings: of its samples alone, all of them counted.
        features: what is to be read of all of them.
    """

    atlas: Atlas
    settings: PrecomputeSettings
    features: Features | None = None

    @cached_property
    def plan(self) -> Plan:
        """The blocks of the samples that are missing, and of what was not read of the others."""
        layout, have, number = self.atlas.layout, self.atlas.samples, self.settings.samples
        first, pulled = (0, 0) if have is None else (len(have), len(have.pulled))
        widths = widths_of(self.features)
        unread = first if widths and have is not None and not have.readings else 0
        return Plan(
            layout,
            np.zeros(0, np.int64),
            samples=sample_blocks(layout, first, number, widths),
            pulled=pulled_blocks(layout, pulled, pulled_count(number)),
            features=feature_blocks(layout, unread, widths),
        )


def extension_of(
    path: str | os.PathLike[str],
    generator: Generator,
    encoder: JointEncoder,
    settings: PrecomputeSettings,
    given: Collection[str],
    phrases: Sequence[str] = (),
    features: Features | None = None,
) -> Extension | None:
    """What becomes of the atlas at a path where one is to be drawn; None where no sound one lies.

    Args:
        settings: that were asked for.
        given: which of them were asked for by name. The others are as the atlas has them; of
            samples it keeps what it has, and gets those of `settings` where it has fewer.
        phrases: that its bank must hold.
        features: what is to be read of all of its samples.

    Raises:
        FingerprintError: it is an atlas of another generator or CLIP, or with features by other
            readers.
        OptionError: it was drawn by other settings than those given, from drafts where these are
            whole images or the other way round, has more samples, or more are asked for of a set
            with features without these.
        AtlasFormatError: its settings have no seed that could be gone on with.
    """
    atlas = _atlas_at(path)
    if atlas is None:
        return None
    _require_models(path, atlas, generator, encoder)
    known = todays_settings(atlas.fingerprint.settings)
    asked = {name: getattr(settings, name) for name in given if name != "samples"}
    if "probes" in asked and settings.takes_slopes:
        asked["probes"] = settings.products(encoder.width)
    drawn = {name: known[name] for name in asked if name in known}
    if different := differences(value_parts(drawn), value_parts(asked)):
        raise OptionError(
            f"{path}: holds an atlas that was drawn otherwise: {', '.join(different)}; leave that "
            f"out, which keeps its table, {_MEND}"
        )
    _require_images_and_phrases(path, atlas, generator, phrases)
    have = 0 if atlas.samples is None else len(atlas.samples)
    number = settings.samples if "samples" in given else max(have, settings.samples)
    if number < have:
        raise OptionError(
            f"samples {number}: the atlas at {path} has {have} already; give as many or more, "
            f"{_MEND}"
        )
    seed, label = _drawn_by(path, known, settings)
    _require_readers(path, atlas.samples, number, features)
    if not number:  # nothing to draw: what the settings say of samples is not looked at
        return Extension(atlas, replace(settings, samples=0))
    settings = PrecomputeSettings(table="none", samples=number, seed=seed, label=label)
    return Extension(atlas, settings, features)


@dataclass(frozen=True, eq=False)
class Untabled:
    """A sound atlas of samples alone, and the table that it is to have.

    Args:
        atlas: as it is.
        settings: of the table, drawn without samples.
    """

    atlas: Atlas
    settings: PrecomputeSettings

    @property
    def prompts(self) -> PromptSet:
        """Those of the atlas, which stay as they are."""
        return PromptSet(tuple(self.atlas.prompts.texts), templates_of(self.atlas))

    def joined(self, drawn: Atlas) -> Atlas:
        """What was drawn by `settings` and `prompts`, with the samples."""
        known = todays_settings(self.atlas.fingerprint.settings)
        kept = {name: known[name] for name in _SAMPLED if name in known}
        origin = replace(drawn.fingerprint, settings={**drawn.fingerprint.settings, **kept})
        prompts, samples = self.atlas.prompts, self.atlas.samples
        return replace(drawn, prompts=prompts, samples=samples, fingerprint=origin)


def untabled_of(
    path: str | os.PathLike[str],
    generator: Generator,
    encoder: JointEncoder,
    settings: PrecomputeSettings,
    given: Collection[str],
    phrases: Sequence[str] = (),
    features: Features | None = None,
) -> Untabled | None:
    """The atlas at a path where a table was asked for by name, if it has samples alone; None
    otherwise. See `extension_of` for the arguments and further errors.

    Raises:
        OptionError: more samples, or what is read of them, are asked for at the same time, or
            another seed or class than the samples are of.
    """
    atlas = _atlas_at(path)
    if atlas is None or len(atlas.channels) or settings.table == "none" or "table" not in given:
        return None
    _require_models(path, atlas, generator, encoder)
    _require_images_and_phrases(path, atlas, generator, phrases)
    known = todays_settings(atlas.fingerprint.settings)
    have = len(atlas.samples or ())
    if features is not None or ("samples" in given and settings.samples not in (0, have)):
        raise OptionError(
            f"{path}: has {have} samples, and gets its table by a call of its own; leave out "
            "--samples and --features, or --table"
        )
    seed, label = _drawn_by(path, known, settings)
    asked = {name: getattr(settings, name) for name in given if name in ("seed", "label")}
    drawn = {"seed": seed, "label": label}
    if different := differences(
        value_parts({name: drawn[name] for name in asked}), value_parts(asked)
    ):
        raise OptionError(
            f"{path}: holds samples that were drawn otherwise: {', '.join(different)}; leave that "
            f"out, {_MEND}"
        )
    return Untabled(atlas, replace(settings, samples=0, seed=seed, label=label))


def _atlas_at(path: str | os.PathLike[str]) -> Atlas | None:
    """The sound atlas at a path, if one lies there."""
    try:
        return Atlas.open(path)
    except AtlasError:
        return None


def _require_models(
    path: str | os.PathLike[str], atlas: Atlas, generator: Generator, encoder: JointEncoder
) -> None:
    """Raise FingerprintError unless the atlas is of these."""
    for what, there, here in (
        ("generator", atlas.fingerprint.generator, generator.identity),
        ("CLIP", atlas.fingerprint.clip, encoder.identity),
    ):
        if different := there.differences(here):
            renew = f"embed its prompts anew with `styleatlas prompts renew {path}`, "
            raise FingerprintError(
                f"{path}: holds an atlas of another {what}, {there}, where this one is "
                f"{here}{told(different)}; {renew if there.sees_alike(here) else ''}{_MEND}"
            )


def _require_images_and_phrases(
    path: str | os.PathLike[str], atlas: Atlas, generator: Generator, phrases: Sequence[str]
) -> None:
    """Raise OptionError where CLIP saw other images, or the bank lacks phrases."""
    drafts = todays_settings(atlas.fingerprint.settings).get("draft")
    side = generator.side if isinstance(generator, Draft) else None
    if drafts != side:
        raise OptionError(
            f"{path}: holds an atlas of {_images(drafts)}, not of {_images(side)}, which would not "
            f"compare; {'leave out' if drafts is None else 'give'} --draft, or {_MEND}"
        )
    if lacking := unknown(phrases, atlas.prompts):
        raise OptionError(
            f"{path}: holds an atlas whose bank lacks {len(lacking)} of these phrases, such as "
            f"{lacking[0]!r}; add them with `styleatlas prompts add`, {_MEND}"
        )


def _drawn_by(
    path: str | os.PathLike[str], known: Mapping[str, Any], settings: PrecomputeSettings
) -> tuple[int, int | None]:
    """The seed and the class of an atlas of these settings.

    Raises:
        AtlasFormatError: they are none.
    """
    seed, label = known.get("seed", settings.seed), known.get("label", settings.label)
    if type(seed) is not int or not (label is None or type(label) is int):
        raise AtlasFormatError(
            f"{path}: attribute settings: seed {seed!r} and label {label!r} must be whole numbers; "
            f"{_MEND}"
        )
    return seed, label


def _require_readers(
    path: str | os.PathLike[str],
    samples: SampleSet | None,
    number: int,
    features: Features | None,
) -> None:
    """Raise unless all of so many samples can have the features that those at hand have."""
    if samples is None or not samples.readings:
        return
    known = {name: feature.source for name, feature in samples.readings.items()}
    mend = "choose another -o"
    if features is None:
        if number > len(samples):
            raise OptionError(
                f"{path}: its {len(samples)} samples have features ({', '.join(known)}), which "
                f"more of them must have, too; give --features, or --samples {len(samples)}"
            )
    elif known != features.sources:
        names = sorted({**known, **features.sources})
        other = [name for name in names if known.get(name) != features.sources.get(name)]
        raise FingerprintError(
            f"{path}: its samples have features by other readers ({', '.join(other)}), which are "
            f"never changed; leave out --features, or {mend}"
        )


def open_extension(
    path: str | os.PathLike[str], generator: Generator, encoder: JointEncoder, extension: Extension
) -> WorkFolder:
    """The work folder beside the atlas; see `open_work`."""
    plan, atlas = extension.plan, extension.atlas
    fingerprint = fingerprint_of(generator, encoder, extension.settings)
    details = {**fingerprint.settings, "samples_known": len(atlas.samples or ())}
    shapes = plan.shapes(0, encoder.width)
    run = Run(
        with_readers(replace(fingerprint, settings=details), extension.features),
        prompts=hashlib.sha256().hexdigest(),
        blocks=len(shapes),
        library=LIBRARY,
    )
    return WorkFolder(path, run, shapes, _atlas_bytes(generator, extension))


def extend(
    generator: Generator,
    encoder: JointEncoder,
    extension: Extension,
    report: Callable[[RunProgress], None],
    work: WorkFolder | None = None,
    executor: Executor | None = None,
    sources: Sources | None = None,
) -> Atlas:
    """The atlas with the samples that it lacked, and what it lacked of them; see `precompute` for
    the arguments and errors, and `open_extension` for `work`."""
    atlas, plan, settings = extension.atlas, extension.plan, extension.settings
    have = atlas.samples
    if have is not None and len(have) == settings.samples:  # whichever seed they are of
        drawing = Drawing(have.w, have.label, have.centre, have)
    else:
        drawing = Drawing.of(generator, settings.samples, settings.seed, settings.label, have)
    nothing = np.zeros((0, generator.layout.size), np.float32)
    probes = Probes.of(atlas.prompts.embeddings, 0, settings.seed)
    setup = Setup(nothing, atlas.style_mean, atlas.style_std, probes, nothing)
    resumed = work.done if work else frozenset[int]()
    worker = worker_of(generator, encoder, setup, executor, sources, extension.features)
    place = executor or InThisProcess()
    scheduler = Scheduler(place, worker, work, report, plan.renders, plan.costs, resumed)
    readers = sources_of(extension.features)
    samples = drawing.measure(generator, encoder, plan, scheduler.run, readers)
    details = fingerprint_of(generator, encoder, settings).settings
    known = todays_settings(atlas.fingerprint.settings)
    origin = replace(
        atlas.fingerprint, settings={**known, **{name: details[name] for name in _SAMPLED}}
    )
    return replace(atlas, samples=samples, fingerprint=origin)


def renewed(atlas: Atlas, encoder: JointEncoder, report: OnEmbedded) -> Atlas:
    """The atlas with its prompts, and what chance does to those that mean nothing, by another CLIP
    that sees images as its own did.

    Raises:
        FingerprintError: the CLIP is not known to see them so.
    """
    there, here = atlas.fingerprint.clip, encoder.identity
    if not there.sees_alike(here):
        atlas.fingerprint.require_clip(here)
    templates, samples = templates_of(atlas), atlas.samples
    encode = encode_with(encoder)
    bank = build_bank(atlas.prompts.texts, templates, encode, encoder.width, report)
    if samples is not None:
        gain, spread = SampleMap(samples).chance(meaningless(encoder))
        samples = replace(samples, null_gain=gain, null_spread=spread)
    origin = replace(atlas.fingerprint, clip=here)
    return replace(atlas, prompts=bank, samples=samples, fingerprint=origin)


def estimate_extension(
    generator: Generator, encoder: JointEncoder, extension: Extension, workers: int
) -> dict[str, Any]:
    """What `extend` will take; see `estimate`."""
    none = PromptSet((), ("{}",))
    settings, plan = extension.settings, extension.plan
    record = estimate(generator, encoder, none, settings, workers, plan, extension.features)
    return record | {"atlas_bytes": _atlas_bytes(generator, extension)}


def _images(draft: object) -> str:
    """What CLIP saw, by the setting `draft`."""
    return "whole images" if draft is None else f"drafts of {draft} px"


def _atlas_bytes(generator: Generator, extension: Extension) -> int:
    """What the atlas will take on disk."""
    atlas = extension.atlas
    plan = replace(extension.plan, channels=atlas.channels)
    sizes = atlas.prompts.width, w_shape(generator)[1], atlas.layout.size
    return plan.atlas_bytes(len(atlas.prompts), *sizes)
