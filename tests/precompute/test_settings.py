from __future__ import annotations

import pytest

from styleatlas.precompute.settings import PrecomputeSettings
from styleatlas.store.errors import OptionError


@pytest.mark.parametrize("method", ["Sweep", "", "slopes", None])
def test_unknown_method_is_refused_with_those_there_are(method):
    with pytest.raises(
        OptionError, match=f"table {method!r}: unknown; use one of screened, sweep, jacobian, ref"
    ):
        PrecomputeSettings(table=method)


def test_screened_is_the_method_where_none_is_named():
    assert PrecomputeSettings().table == "screened"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"images": 0}, "images 0: must lie between 1 and 100000"),
        ({"images": 100_001}, "images 100001: must lie between 1 and 100000"),
        ({"strength": 0.0}, "strength 0: must lie above 0 and up to 50 sigma"),
        ({"strength": 50.5}, r"strength 50\.5: must lie above 0"),
        ({"strength": float("nan")}, "strength nan: must lie above 0"),
        ({"seed": -1}, "seed -1: must lie between 0 and 4294967295"),
        ({"seed": 2**32}, "seed 4294967296: must lie between 0 and 4294967295"),
        ({"truncation": 2.1}, r"truncation 2\.1: must lie between -2 and 2"),
        ({"truncation": float("nan")}, "truncation nan: must lie between -2 and 2"),
        ({"statistics": 1}, "statistics 1: must be at least 2"),
        ({"samples": -1}, "samples -1: must lie between 0 and 100000"),
        ({"samples": 100_001}, "samples 100001: must lie between 0 and 100000"),
        ({"table": "none", "samples": 0}, "table none, samples 0: is an atlas of nothing"),
        ({"table": "none", "refit": 9}, "refit 9: there are no rows to refit with table none"),
        ({"table": "none", "probes": 9}, "probes 9: the table none takes no slopes"),
    ],
)
def test_settings_out_of_range_are_refused_by_name(settings, message):
    with pytest.raises(OptionError, match=message):
        PrecomputeSettings(**settings)


def test_screened_takes_all_directions_where_too_few_prompts_could_choose_probes(
    draw, generator, make_encoder
):
    wide = make_encoder(24)  # 48 dimensions
    few = draw(generator, wide, table="screened", images=2)
    assert few.fingerprint.settings["probes"] == 48
    many = tuple(f"channel{number % 14} number {number}" for number in range(40))
    assert (
        draw(generator, wide, many, table="screened", images=2).fingerprint.settings["probes"] == 32
    )
