"""demo, as far as it needs no minute."""

from __future__ import annotations


def test_folder_that_cannot_be_made_is_refused(refused, tmp_path):
    (tmp_path / "file").write_bytes(b"")
    found = refused("demo", "--out", tmp_path / "file" / "demo")
    place, file = tmp_path / "file" / "demo", tmp_path / "file"
    assert found == f"{place}: cannot be made ({file} is not a folder); choose another"
