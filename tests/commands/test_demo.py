"""demo, as far as it needs no minute."""

from __future__ import annotations


def test_folder_that_cannot_be_made_is_refused(refused, tmp_path):
    (tmp_path / "file").write_bytes(b"")
    found = refused("demo", "--out", tmp_path / "file" / "demo")
    assert (
        found == f"{tmp_path / 'file' / 'demo'}: cannot be made (Not a directory); choose another"
    )
