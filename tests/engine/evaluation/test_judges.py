"""Who judges."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from styleatlas import Atlas, load_generator
from styleatlas.engine.checkpoints.native import read_safetensors
from styleatlas.engine.evaluation.judges import (
    AttributeJudge,
    ClipJudge,
    Look,
    feature_distance,
    judge_for,
)
from styleatlas.engine.evaluation.scores import (
    Predictions,
)
from styleatlas.engine.evaluation.suite import Suite, Trial, read_suite
from styleatlas.engine.models.sampling import styles_from_seeds
from styleatlas.store.errors import CheckpointError, FingerprintError, OptionError
from styleatlas.store.registry import EMBEDDED


@pytest.fixture(scope="module")
def avatar_images():
    generator = load_generator(EMBEDDED.name, "cpu")
    with torch.inference_mode():
        return generator.render(styles_from_seeds(generator, range(1, 25), 0.7))


def test_avatar_judge_reads_what_the_embedded_judge_reads(avatar_images):
    look, reading = (
        AttributeJudge(EMBEDDED).look(avatar_images),
        AttributeJudge(EMBEDDED).read(avatar_images),
    )
    for column, (name, values) in enumerate(AttributeJudge(EMBEDDED).attributes.items()):
        assert [values[i] for i in look.predictions.values[:, column]] == reading[name]
    hidden = np.array([[x == "sunglasses"] for x in reading["glasses"]])
    eyes = list(AttributeJudge(EMBEDDED).attributes).index("eyes")
    np.testing.assert_array_equal(look.predictions.seen[:, [eyes]], ~hidden)


def test_judge_whose_bundle_has_no_drawings_sees_every_attribute(avatar_images):
    look = AttributeJudge(replace(EMBEDDED, drawings=None)).look(avatar_images)
    assert look.predictions.seen.all()


def test_drawings_of_another_judge_are_refused(tmp_path):
    metadata, tensors = read_safetensors(EMBEDDED.drawings)
    about = json.loads(metadata["drawings"])
    about["attributes"] = dict(reversed(about["attributes"].items()))
    path = tmp_path / "drawings.safetensors"
    save_file(tensors, path, {"drawings": json.dumps(about)})
    with pytest.raises(CheckpointError, match="draws other attributes, or at another size"):
        AttributeJudge(replace(EMBEDDED, drawings=path))


def test_avatar_judge_refuses_other_images():
    with pytest.raises(OptionError, match="reads images of 3 x 64 x 64, not of 3 x 8 x 8"):
        AttributeJudge(EMBEDDED).look(torch.zeros(1, 3, 8, 8))


def test_clip_that_drew_the_atlas_is_no_judge():
    with pytest.raises(FingerprintError, match="is the CLIP that drew the atlas"):
        judge_for(str(EMBEDDED.clip), Atlas.open(EMBEDDED.atlas), read_suite(EMBEDDED.suite), "cpu")


def test_clip_tells_values_apart_by_the_mean_of_their_phrases(encoder):
    phrases = {
        "pixel": {"low": ("channel3", "channel4"), "high": ("channel5",)},
        "other": {"a": ("channel8",), "b": ("channel9",)},
    }
    judge = ClipJudge(encoder, Suite(phrases, (Trial("a", "b", "pixel", ("low",)),)))
    images = torch.zeros(3, 3, 8, 8)
    for image, pixel in enumerate((3, 4, 5)):
        images[image, 0].view(-1)[pixel] = 1.0
        images[image, 0].view(-1)[9 if image == 1 else 8] = 1.0
    look = judge.look(images)
    assert look.predictions.values.tolist() == [[0, 0], [0, 1], [1, 0]]
    assert look.predictions.seen.all()
    along = judge.direction("channel3", "channel5")
    assert (look.embeddings @ along)[2] > (look.embeddings @ along)[0]


def test_distance_is_nothing_of_the_same_and_of_embeddings_two_minus_twice_the_cosine():
    a = torch.nn.functional.normalize(torch.randn(5, 7, generator=torch.manual_seed(0)), dim=1)
    b = a.roll(1, 0)
    looks = [Look(Predictions(np.zeros(0), np.zeros(0)), (x[:, :, None, None],)) for x in (a, b)]
    np.testing.assert_allclose(feature_distance(looks[0], looks[0]), 0)
    np.testing.assert_allclose(feature_distance(*looks), 2 - 2 * (a * b).sum(1), rtol=1e-5)
