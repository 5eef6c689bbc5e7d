"""What an evaluation says in figures: the JSON record, of which `edits` are the rows of the CSV,
and the text."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ...store.atlas import Atlas
from ...store.records import Record, text_table
from ...store.version import LIBRARY
from ..pictures.recipe import AtlasIdentity
from .results import Evaluation, Outcome, VariantResult
from .scores import (
    RESAMPLES,
    Array,
    at_success,
    interval,
    over_edits,
    resampled,
    rounded,
    share,
)

_SEEN = ("fully_right", "damaged", "hit")
_LIKENESS = {
    "lpips": ("LPIPS", 3),
    "identity": ("identity", 3),
    "same_person": ("same person %", 1),
}
_SIDES = ("without", "with")
_DIGITS = {"clip_drift": 4, "clip_shift": 4, "judge_drift": 2, "success": 2, "preservation": 2}


def evaluation_record(evaluation: Evaluation) -> Record:
    """All figures, as JSON holds them: shares in percent, null for what is not known."""
    weights = resampled(len(evaluation.seeds))
    scored = [_Scored(evaluation, result, weights) for result in evaluation.results]
    default = scored[0]
    return {
        "library": LIBRARY,
        "atlas": _atlas_record(evaluation.editor.atlas),
        "reference": evaluation.reference and _atlas_record(evaluation.reference),
        "judge": evaluation.judge,
        "lpips": evaluation.likeness.perceptual and evaluation.likeness.perceptual.name,
        "identity": evaluation.likeness.identity and evaluation.likeness.identity.name,
        "seeds": list(evaluation.seeds),
        "truncation": evaluation.truncation,
        "resamples": RESAMPLES,
        "drawings": _drawings_record(evaluation),
        "ways": [way.record() for way in scored],
        "default_against": [default.against(way) for way in scored[1:]],
        "keep": _keep_record(evaluation, default, weights),
        "edits": [row for way in scored for row in way.rows()],
    }


def summary_text(record: Record) -> str:
    """The record in short, for people."""
    measured = likeness_heads(record)
    ways = []
    for way in record["ways"]:
        point = way["points"][way["best"]]
        ways.append(
            {
                "way": way["way"],
                "best alpha": "automatic" if point["alpha"] is None else f"{point['alpha']:g}",
                **{f"{key} %": spread(point[key]) for key in ("success", "preservation")},
                "channels": plain(point["channels"], 0),
                "similarity": plain(point["directional_similarity"], 3),
            }
        )
    seen = [
        {
            "way": way["way"],
            **{f"{key.replace('_', ' ')} %": spread(point[key]) for key in _SEEN if point[key]},
            **({"leak": spread(point["leak"], 4)} if point["leak"] else {}),
        }
        for way in record["ways"]
        for point in (way["points"][way["best"]],)
    ]
    alike = [
        {
            "way": way["way"],
            **{head: plain(point[key], digits) for key, (head, digits) in measured.items()},
        }
        for way in record["ways"]
        for point in (way["points"][way["best"]],)
    ]
    matched = [
        {
            "default against": row["way"],
            "its preservation at the same success %": spread(row["preservation_at_same_success"]),
            "the default preserves more by": spread(row["preserves_more_at_same_success"]),
        }
        for row in record["default_against"]
    ]
    parts = [text_table(ways), text_table(seen)]
    if measured:
        parts.append(text_table(alike))
    if matched:
        parts.append(text_table(matched))
    return "\n\n".join([*parts, keep_text(record["keep"])])


def likeness_heads(record: Record) -> dict[str, tuple[str, int]]:
    """What a table tells of how alike images stay, each figure that was measured with its head and
    decimals."""
    measured = {
        "lpips": record["lpips"] is not None,
        "identity": record["identity"] is not None,
        "same_person": any(row["same_person"] is not None for row in record["edits"]),
    }
    return {key: head for key, head in _LIKENESS.items() if measured[key]}


def keep_text(keep: Record) -> str:
    """What `--keep` does, in a table."""
    if not keep["count"]:
        return "keep: no edit had anything to keep"
    heads = {
        "clip_drift": "movement",
        "clip_shift": "together",
        "judge_drift": "changed %",
        "success": "success %",
        "preservation": "preservation %",
    }
    rows = []
    for side in _SIDES:
        figures = {
            head: plain(keep[key][side]["value"], 3 if key.startswith("clip") else 1)
            for key, head in heads.items()
        }
        rows.append({f"{keep['count']} edits": f"{side} keep", **figures})
    return text_table(rows)


def plain(value: float | None, digits: int = 1) -> str:
    """A figure, or a dash for what is not known."""
    return "-" if value is None else f"{value:.{digits}f}"


def spread(figure: Record, digits: int = 1) -> str:
    """An estimate with its interval: 92.1 (90.8 to 93.3)."""
    value, low, high = (figure[key] for key in ("value", "low", "high"))
    if low is None:
        return plain(value, digits)
    return f"{value:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


class _Scored:
    """A way with its figures, in every resample (B,) of the weights, of each of its points."""

    def __init__(self, evaluation: Evaluation, result: VariantResult, weights: Array) -> None:
        self.result, self.trials = result, evaluation.suite.trials
        self.counts = [evaluation.tallies(outcome) for outcome in result.outcomes]
        self.success = [over_edits(share(weights, x.won, x.absent)) for x in self.counts]
        self.preserved = [over_edits(share(weights, x.same, x.shown)) for x in self.counts]
        self.drawn = [evaluation.drawn_tallies(outcome) for outcome in result.outcomes]
        self.weights = weights
        both = [s[0] + p[0] for s, p in zip(self.success, self.preserved, strict=True)]
        self.best = int(np.argmax(np.nan_to_num(both)))

    def record(self) -> Record:
        """The means over edits at every point, and which has the most success and preservation."""
        choice, points = self.result.variant.choice, []
        for i, outcome in enumerate(self.result.outcomes):
            measured = [self._measured(outcome, i, e) for e in range(len(self.trials))]
            points.append(
                {
                    "alpha": outcome.alpha,
                    "success": interval(self.success[i]),
                    "preservation": interval(self.preserved[i]),
                    **{
                        key: shares if shares is None else interval(over_edits(shares), digits)
                        for key, (shares, digits) in self._seen(i, self.weights).items()
                    },
                    **{key: _mean([row[key] for row in measured]) for key in measured[0]},
                }
            )
        return {
            "way": self.result.variant.name,
            "rule": choice.rule,
            "beta": choice.beta,
            "best": self.best,
            "points": points,
        }

    def against(self, other: _Scored) -> Record:
        """The default, which this is, less another way: at the other's best alpha, and where the
        other has the default's success."""
        level, preserved = self.success[0], self.preserved[0]
        matched = at_success(np.stack(other.success, 1), np.stack(other.preserved, 1), level)
        return {
            "way": other.result.variant.name,
            "best_alpha": other.result.outcomes[other.best].alpha,
            "succeeds_more": interval(level - other.success[other.best]),
            "preserves_more": interval(preserved - other.preserved[other.best]),
            "preservation_at_same_success": interval(matched),
            "preserves_more_at_same_success": interval(preserved - matched),
        }

    def rows(self) -> list[Record]:
        """A record a point and edit."""
        rows = []
        for i, outcome in enumerate(self.result.outcomes):
            counts = self.counts[i]
            once = np.ones((1, counts.absent.shape[1]))
            success = share(once, counts.won, counts.absent)[0]
            preserved = share(once, counts.same, counts.shown)[0]
            seen = self._seen(i, once)
            for number, trial in enumerate(self.trials):
                rows.append(
                    {
                        "way": self.result.variant.name,
                        "alpha": outcome.alpha,
                        "neutral": trial.neutral,
                        "target": trial.target,
                        "attribute": trial.attribute,
                        "images_without": int(counts.absent[number].sum()),
                        "success": rounded(success[number]),
                        "preservation": rounded(preserved[number]),
                        **{
                            key: shares if shares is None else rounded(shares[0, number], digits)
                            for key, (shares, digits) in seen.items()
                        },
                        **self._measured(outcome, i, number),
                    }
                )
        return rows

    def _seen(self, point: int, weights: Array) -> dict[str, tuple[Array | None, int]]:
        """What a person sees of every edit in every resample, (B, E), None where the truth cannot
        be drawn, each with the decimals it is told by."""
        counts, drawn = self.counts[point], self.drawn[point]
        figures: dict[str, tuple[Array | None, int]] = {
            "fully_right": (share(weights, counts.right, counts.absent), 2)
        }
        if drawn is None:
            return figures | dict.fromkeys(("damaged", "hit", "leak"), (None, 0))
        return figures | {
            "damaged": (share(weights, drawn.damaged, counts.absent), 2),
            "hit": (share(weights, drawn.hit, counts.absent), 2),
            "leak": (share(weights, drawn.leak, counts.absent) / 100, 5),
        }

    def _measured(self, outcome: Outcome, point: int, number: int) -> Record:
        """What one edit took and did, over the images that lacked its attribute."""
        lacking = self.counts[point].absent[number]
        direction = self.result.directions[number]
        figures = {
            "mean_alpha": outcome.alphas,
            "directional_similarity": outcome.similarity,
            "judge_similarity": outcome.judge_similarity,
            "pixel_difference": outcome.pixels,
            "judge_distance": outcome.distance,
            **outcome.likeness,
        }
        return {
            "channels": 0 if direction is None else len(direction.channels),
            **{key: _mean(array[number][lacking], 4) for key, array in figures.items()},
        }


def _keep_record(evaluation: Evaluation, default: _Scored, weights: Array) -> Record:
    """The default with and without `--keep`, of the edits that had something to keep, over the
    images that lacked what the edit was to bring."""
    trials = [(e, trial) for e, trial in enumerate(evaluation.keep.trials) if trial.keep]
    if not trials:
        return {"count": 0, "edits": []}
    kept = _Scored(evaluation, evaluation.keep.result, weights)
    sides = {
        side: _keep_shares(evaluation, way, [e for e, _ in trials], weights)
        for side, way in zip(_SIDES, (default, kept), strict=True)
    }
    means = {
        key: {side: over_edits(shares[key]) for side, shares in sides.items()}
        for key in sides["with"]
    }
    left = {
        f"{key}_left": interval(100 * _ratio(means[key]["with"], means[key]["without"]))
        for key in ("clip_drift", "clip_shift", "judge_drift")
    }
    rows = []
    for i, (_, trial) in enumerate(trials):
        row: Record = {"target": trial.target, "keep": list(trial.keep)}
        for key in means:
            for side, shares in sides.items():
                row[f"{key}_{side}"] = rounded(shares[key][0, i], _DIGITS[key])
        rows.append(row)
    figures = {
        key: {side: interval(mean, _DIGITS[key]) for side, mean in by_side.items()}
        for key, by_side in means.items()
    }
    return {"count": len(trials), **figures, **left, "edits": rows}


def _keep_shares(
    evaluation: Evaluation, way: _Scored, chosen: list[int], weights: Array
) -> dict[str, Array]:
    """Figures of the chosen edits in every resample, (B, edits) each. `clip_drift` is how far the
    embedding of an image moved along the direction to what is kept, to either side, on average;
    `clip_shift` how far the images moved together, which is what remains when the movements to
    either side are set off; `judge_drift` the share of images in which the judge saw the attribute
    of what is kept change."""
    outcome, counts = way.result.outcomes[0], way.counts[0]
    phrases = evaluation.suite.all_phrases()
    moved, shifted, changed, seen = [], [], [], []
    for e in chosen:
        keep = evaluation.keep.trials[e].keep
        columns = [phrases.index(phrase) for phrase in keep]
        about = [evaluation.suite.attribute_of(phrase) for phrase in keep]
        attributes = [list(evaluation.attributes).index(name) for name in about]
        lacking = counts.absent[e]
        both = evaluation.predictions.seen & outcome.predictions.seen[e] & lacking[:, None]
        apart = both & (evaluation.predictions.values != outcome.predictions.values[e])
        moves = outcome.moves[e][:, columns].T  # (kept, n)
        moved.append(lacking * np.abs(moves).mean(0))
        together = share(weights, moves * lacking, np.repeat(lacking[None], len(keep), 0))
        shifted.append(np.abs(together).mean(1))
        changed.append(apart[:, attributes].sum(1))
        seen.append(both[:, attributes].sum(1))
    absent, won, same, shown = (
        array[chosen] for array in (counts.absent, counts.won, counts.same, counts.shown)
    )
    return {
        "clip_drift": share(weights, np.stack(moved), absent) / 100,
        "clip_shift": np.stack(shifted, 1) / 100,
        "judge_drift": share(weights, np.stack(changed), np.stack(seen)),
        "success": share(weights, won, absent),
        "preservation": share(weights, same, shown),
    }


def _ratio(a: Array, b: Array) -> Array:
    ratio: Array = np.divide(a, b, where=b > 0, out=np.full(a.shape, np.nan))
    return ratio


def _mean(values: Sequence[float | None] | NDArray[np.float32], digits: int = 4) -> float | None:
    """Of those that are known; None where none is."""
    known = np.array([value for value in values if value is not None], np.float64)
    known = known[~np.isnan(known)]
    return rounded(known.mean(), digits) if len(known) else None


def _drawings_record(evaluation: Evaluation) -> Record | None:
    """Beyond which distance an image is damaged, and what part of the images as they are lies
    there, in percent."""
    if evaluation.truth is None:
        return None
    limit, distance = evaluation.truth.limit, evaluation.truth.drawn.distance
    beyond = share(resampled(len(distance)), distance[None] > limit, np.ones((1, len(distance))))
    return {
        "limit": rounded(limit, 5),
        "distance": rounded(float(distance.mean()), 5),
        "unedited_damaged": interval(beyond[:, 0]),
    }


def _atlas_record(atlas: Atlas) -> Record:
    origin = atlas.fingerprint
    return {
        "sha256": AtlasIdentity.of(atlas, "auto").sha256,
        "created": atlas.created,
        "generator": {"name": origin.generator.name, "sha256": origin.generator.sha256},
        "clip": {"name": origin.clip.name, "sha256": origin.clip.sha256},
        "method": origin.settings.get("method"),
        "images": origin.settings.get("images"),
    }
