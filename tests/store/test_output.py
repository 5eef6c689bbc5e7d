from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from styleatlas.store.atlas import Atlas
from styleatlas.store.errors import OutputError
from styleatlas.store.output import replacing


def test_existing_file_is_replaced_as_a_whole(tmp_path):
    target = tmp_path / "file"
    target.write_text("old")
    with replacing(target) as file:
        file.write(b"new")
        assert target.read_text() == "old"
    assert target.read_text() == "new"
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_interrupted_writing_keeps_the_old_file_and_leaves_nothing(tmp_path, error):
    target = tmp_path / "file"
    target.write_text("old")
    with pytest.raises(error), replacing(target) as file:
        file.write(b"half")
        raise error
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_link_is_followed_to_the_file_it_names(tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "disk" / "file")
    with replacing(tmp_path / "link") as file:
        file.write(b"new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "disk" / "file").read_text() == "new"


def test_missing_directory_is_named(atlas, tmp_path):
    with pytest.raises(OutputError, match=r"the directory .*/none does not exist"):
        atlas.write(tmp_path / "none" / "atlas.h5")
    assert list(tmp_path.iterdir()) == []


def test_zero_byte_in_a_name_is_an_output_error(atlas):
    with pytest.raises(OutputError, match="holds a zero byte"):
        atlas.write("a\0b.h5")


def test_directory_in_place_is_named(atlas, tmp_path):
    with pytest.raises(OutputError, match="is a directory; name a file"):
        atlas.write(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not Path("/dev/null").exists(), reason="needs /dev/null")
def test_device_is_not_replaced(atlas):
    with pytest.raises(OutputError, match="/dev/null: is not a regular file"):
        atlas.write("/dev/null")
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)


def test_name_too_long_for_the_disk_is_an_output_error(atlas, tmp_path):
    with pytest.raises(OutputError, match="the name is too long; shorten it"):
        atlas.write(tmp_path / ("x" * 250))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.ordinary_user
def test_directory_without_permission_is_named(atlas, tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(OutputError, match="is not writable; choose another"):
        atlas.write(tmp_path / "atlas.h5")


FULL_DISK = """
import resource, sys
from styleatlas.store.atlas import Atlas
from styleatlas.store.errors import OutputError
atlas = Atlas.open(sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))
try:
    atlas.write(sys.argv[1])
except OutputError as error:
    print(error)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs resource limits")
@pytest.mark.parametrize("limit", [0, 1000, 4000])
def test_full_disk_keeps_the_old_file_and_leaves_nothing(atlas, atlas_path, same_atlas, limit):
    # In a process of its own: HDF5 used to crash it at its end.
    command = [sys.executable, "-c", FULL_DISK, str(atlas_path), str(limit)]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert result.stdout.startswith(f"{atlas_path}: cannot be written (")
    assert result.stdout.count("\n") == 1
    assert list(atlas_path.parent.iterdir()) == [atlas_path]
    assert same_atlas(Atlas.open(atlas_path), atlas)
