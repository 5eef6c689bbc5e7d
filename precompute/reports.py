"""What people and machines are told of a run: before it, while it runs, and after it."""

from __future__ import annotations

import numpy as np

from ..store.atlas import Atlas
from ..store.layout import StyleLayout
from ..store.progress import Progress
from ..store.records import Record, duration
from .agreement import COMPARED, LEAST, agreement_text
from .blocks import ChannelsBlock, WorkBlock
from .imported import BELONGS, CHANNELS
from .samples import PULLED_PSI
from .scheduler import RunProgress


def run_progress(progress: RunProgress, layout: StyleLayout) -> Progress:
    """How far a run over a generator's channels is, as it is shown."""
    done = progress.renders - progress.resumed_renders
    rate = done / max(progress.seconds, 1e-3)
    block, record = progress.last, None
    if block is not None:
        record = {
            "kind": block.kind,
            **_channels(block, layout),
            block.counted: [block.first, block.last - 1],
            "blocks": progress.blocks,
            "of_blocks": progress.of_blocks,
            "resumed": progress.resumed,
            "renders_per_s": round(rate, 2),
        }
    figures = [f"{progress.blocks}/{progress.of_blocks} blocks"]
    if done:
        figures.append(f"{rate:.3g} renders/s")
    return Progress(
        progress.cost,
        progress.of_cost,
        part="blocks",
        label="blocks" if block is None else block.kind,
        figures=tuple(figures),
        record=record,
    )


def _channels(block: WorkBlock, layout: StyleLayout) -> Record:
    """The first and the last channel of a block of channels."""
    if not isinstance(block, ChannelsBlock):
        return {}
    return {"channels": [layout.label(int(block.channels[i])) for i in (0, -1)]}


def bank_progress(embedded: int, of: int) -> Progress:
    """How far the prompts of a bank are."""
    return Progress(
        embedded,
        of,
        part="prompts",
        label="prompts",
        figures=(f"{embedded:,}/{of:,}",),
        record={"kind": "prompts", "embedded": embedded, "of": of},
        spare=True,
    )


def estimate_text(record: Record) -> str:
    """What `estimate` found out, for people."""
    seconds = [f"{name} {duration(value)}" for name, value in record["seconds"].items()]
    memory = record["peak_memory_bytes"]
    rows = {
        "table": record["table"],
        "channels": f"{record['channels']:,} over {record['images']} images",
        "samples": f"{record['samples']:,} to draw",
        "features": ", ".join(record["features"]),
        "draft": f"images of {record['draft']} px; {COMPARED} samples are first seen whole, too, "
        f"and both must agree by {LEAST:g} in the median",
        "blocks": f"{record['blocks']:,}",
        "renders": f"{record['renders']:,}",
        "products": f"{record['vector_jacobian_products']:,} vector-Jacobian products",
        "time": f"about {duration(record['seconds_in_all'])} on {record['workers']} x "
        f"{record['device']} ({', '.join(seconds)})",
        "work folder": f"{record['work_folder_bytes'] / 2**20:,.0f} MiB until the atlas is written",
        "atlas": f"{record['atlas_bytes'] / 2**20:,.1f} MiB",
        "memory": "unknown" if memory is None else f"{memory / 2**30:.1f} GiB in the calibration",
    }
    if not record["channels"]:
        del rows["channels"], rows["products"]
    for name in ("draft", "features"):
        if not record[name]:
            del rows[name]
    return "\n".join(f"{key:<13}{value}" for key, value in rows.items())


def summary(atlas: Atlas) -> Record:
    """What came out of a run: the samples, how many channels move the embedding, how alike the
    images are in them, which layers are strongest, what was audited, and what rows were refitted
    from."""
    sampled: Record = {"samples": 0, "prompts": len(atlas.prompts)}
    if atlas.samples is not None:
        sampled["samples"], sampled["pulled_samples"] = (
            len(atlas.samples),
            len(atlas.samples.pulled),
        )
        if atlas.samples.readings:
            sampled["features"] = list(atlas.samples.readings)
    if "draft" in atlas.fingerprint.settings:
        found = atlas.fingerprint.settings.get("agreement")
        sampled["draft"] = atlas.fingerprint.settings["draft"]
        sampled["agreement"] = found if isinstance(found, dict) else {}
    if not len(atlas.channels):
        return {"channels": 0, **sampled}
    if atlas.rows_alone:  # whose images and figures nobody knows
        return {"channels": len(atlas.channels), "images": None, **sampled}
    images = int(atlas.images[0])
    chance = 1.5 / np.sqrt(images)  # the mean of so many random unit vectors has 1 / sqrt(images)
    live = atlas.consistency > 0
    layers = []
    for layer in atlas.layout:
        inside = live & (atlas.channels >= layer.start) & (atlas.channels < layer.slice.stop)
        if inside.any():
            layers.append((float(np.median(atlas.strength[inside])), layer.name))
    strongest = int(np.argmax(atlas.strength * atlas.consistency))
    settings = atlas.fingerprint.settings
    if "draft" in settings:  # the others of its layers change nothing in it
        sampled["unreached"] = len(atlas.layout.indices("conv", "rgb")) - len(atlas.channels)
    record: Record = {
        "channels": len(atlas.channels),
        "images": images,
        "live": int(live.sum()),
        # One image or two say nothing of that: no consistency is beyond their chance.
        "more_consistent_than_chance": (
            int((atlas.consistency > chance).sum()) if chance < 1 else None
        ),
        "median_consistency": round(float(np.median(atlas.consistency)), 3),
        "strongest_layers": [name for _, name in sorted(layers, reverse=True)[:3]],
        "strongest_channel": atlas.layout.label(int(atlas.channels[strongest])),
        **sampled,
    }
    known = {key: settings.get(key) for key in ("swept", "audit", "refit")}
    return record | {key: value for key, value in known.items() if value is not None}


def atlas_text(name: str, record: Record) -> str:
    """The summary of the atlas written to `name`, and what to try next, for people."""
    samples = f"{record['samples']:,} samples"
    if record["samples"]:
        samples += f", {record['pulled_samples']:,} of them also at psi {PULLED_PSI:g}"
    if "features" in record:
        samples += f", with {', '.join(record['features'])}"
    seen = []
    if "draft" in record:
        seen = [f"  CLIP saw drafts of {record['draft']} px: {agreement_text(record['agreement'])}"]
    if not record["channels"]:
        told = f"{name}: {samples}, {record['prompts']} prompts, no channels"
        return "\n".join([told, *seen, f"next: styleatlas info {name}"])
    if record["images"] is None:
        told = f"{name}: {record['channels']} channels of another program's table, "
        return f"{told}{samples}, {record['prompts']} prompts\nnext: styleatlas info {name}"
    alike = record["more_consistent_than_chance"]
    consistency = (
        "; how alike they do in all images takes 3 images to tell"
        if alike is None
        else f", {alike} of them more alike in all images than chance (median consistency "
        f"{record['median_consistency']})"
    )
    images = f"{record['images']} image{'s' * (record['images'] > 1)}"
    lines = [
        f"{name}: {record['channels']} channels over {images}, {record['prompts']} prompts",
        *([f"  {samples}"] if record["samples"] else []),
        *seen,
        f"  {record['live']} channels move CLIP's embedding{consistency}",
        f"  strongest layers: {', '.join(record['strongest_layers']) or 'none'}",
    ]
    if record.get("unreached"):
        lines.append(
            f"  {record['unreached']} channels of later layers do not reach the draft and were not "
            "measured"
        )
    if "audit" in record:
        audit = record["audit"]
        lines.append(
            f"  {record['swept']} channels were swept, the rest have slopes; of "
            f"{audit['channels']} audited ones the median cosine of both is "
            f"{audit['median_cosine']}, the lowest {audit['lowest_cosine']}"
        )
    if "refit" in record:
        lines.append(f"  rows were refitted from {record['refit']:,} composite directions")
    lines.append(f"next: styleatlas query prompts {name} {record['strongest_channel']}")
    return "\n".join(lines)


def check_progress(done: int) -> Progress:
    """Of rows that are measured anew, to compare an imported table with."""
    return Progress(done, CHANNELS, part="channels", label="check", spare=True)


def imported_text(name: str, atlas: Atlas) -> str:
    """What came of a table that was imported, for people."""
    settings = atlas.fingerprint.settings
    check, found = settings["measured_anew"], settings.get("statistics_of")
    dead = int((atlas.consistency == 0).sum())
    lines = [
        f"{name}: {len(atlas.channels):,} channels ({' and '.join(np.unique(atlas.kinds))}) of "
        f"{atlas.layout.size:,}, {dead:,} of them without a direction",
    ]
    if found is None:
        lines.append(f"  statistics: the generator's own at psi {settings['truncation']:g}")
    else:
        low, high = found["psi"]
        psi = f"{low:g}" if low == high else f"{low:g} to {high:g}"
        lines.append(
            f"  statistics: means {found['sigma_off']:g} sigma from the generator's, deviations as "
            f"at psi {psi}; toRGB stored {found['toRGB']}"
        )
    if settings["input_left_out"]:
        lines.append(f"  left out: {settings['input_left_out']} rows of the input")
    lines += [
        f"  {check['channels']} channels measured anew on {check['images']} images: cosine with "
        f"the table's rows {check['cosine']:.2f}, with those of other channels "
        f"{check['cosine_of_others']:.2f}",
        f"  unknown: {'; '.join(settings['unknown'])}",
        f"next: styleatlas info {name}",
    ]
    return "\n".join(lines)


def imported_doubt(atlas: Atlas) -> str | None:
    """What speaks against an imported table: nothing, or that it looks like another generator's or
    CLIP's."""
    check = atlas.fingerprint.settings["measured_anew"]
    if check["cosine"] - check["cosine_of_others"] >= BELONGS:
        return None
    return (
        "the table's rows are hardly nearer to those measured anew than rows of other channels "
        "are, so it may be of another generator or CLIP"
    )
