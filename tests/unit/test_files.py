"""Files appear completely or not at all, and are read within bounds."""

import os

import pytest

from stinger.errors import InputError
from stinger.files import MARKER, read_bytes, replace_dir, write_bytes, write_text


def test_a_file_is_replaced_as_a_whole(tmp_path):
    path = tmp_path / "new" / "file.txt"
    write_text(path, "first\n")
    write_text(path, "µ\n")
    assert path.read_bytes() == "µ\n".encode()
    assert [p.name for p in path.parent.iterdir()] == ["file.txt"]
    assert path.stat().st_mode & 0o777 == 0o644


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "file"
    write_bytes(path, b"old")

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(InputError, match=r"cannot write .*file: No space left on device; choose another place"):
        write_bytes(path, b"new")
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_a_directory_appears_only_when_it_is_complete(tmp_path):
    target = tmp_path / "out"

    def fail_half_way():
        with replace_dir(target) as building:
            (building / "a").write_text("a")
            raise ValueError("half way")

    with pytest.raises(ValueError, match="half way"):
        fail_half_way()
    assert list(tmp_path.iterdir()) == []
    with replace_dir(target) as building:
        (building / "a").write_text("a")
        assert not target.exists()
    assert {p.name for p in target.iterdir()} == {"a", MARKER}
    with replace_dir(target) as building:
        (building / "b").write_text("b")
    assert {p.name for p in target.iterdir()} == {"b", MARKER}
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def test_a_disk_that_fills_up_is_one_clear_line(tmp_path):
    with pytest.raises(InputError, match=r"cannot write .*out: No space left"), replace_dir(tmp_path / "out"):
        raise OSError(28, "No space left on device")
    assert list(tmp_path.iterdir()) == []


def test_what_others_made_is_never_replaced(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match="is a file"), replace_dir(tmp_path / "file"):
        pass
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "photo").write_text("x")
    with pytest.raises(InputError, match="not made by stinger"), replace_dir(tmp_path / "theirs"):
        pass
    assert (tmp_path / "theirs" / "photo").read_text() == "x"
    (tmp_path / "empty").mkdir()
    with replace_dir(tmp_path / "empty") as building:
        (building / "a").write_text("a")
    assert (tmp_path / "empty" / "a").read_text() == "a"


def test_reading_is_bounded(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"x" * 100)
    assert read_bytes(path, 100, "advice") == b"x" * 100
    with pytest.raises(InputError, match=r"is larger than .* MiB; advice"):
        read_bytes(path, 99, "advice")
    with pytest.raises(InputError, match=r"cannot read .*: it does not exist; advice"):
        read_bytes(tmp_path / "none", 1, "advice")
    os.mkfifo(tmp_path / "pipe")
    for special in (tmp_path, tmp_path / "pipe"):
        with pytest.raises(InputError, match="is not a file; advice"):
            read_bytes(special, 1, "advice")
