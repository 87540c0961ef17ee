"""A bundle as one zip: same bytes, same content, and nothing from outside its manifest."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
import struct
import subprocess
import sys
import tracemalloc
import zipfile
from pathlib import Path

import pytest
from cli_in_process import run
from toy import toy_dataset

from stinger.errors import CheckFailedError, InputError
from stinger.models.store import save_model
from stinger.models.train import train
from stinger_export import bundle_zip
from stinger_export.bundle import export_bundle, load_bundle


@pytest.fixture(scope="module", name="model")
def _model():
    return train(toy_dataset(per_class=40), "logreg", name="toy", folds=0)


@pytest.fixture(scope="module", name="place")
def _place(model, tmp_path_factory):
    """A bundle, as a directory and as a zip."""
    place = tmp_path_factory.mktemp("made")
    export_bundle(model, place / "b")
    export_bundle(model, place / "b.zip")
    return place


def contents(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {entry.filename: archive.read(entry) for entry in archive.infolist()}


def write(path: Path, entries: dict[str, bytes], kind: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", kind) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return path


def refused(path: Path) -> str:
    """Load a zip that must be refused, leaving nothing behind; what it says."""
    left = set(Path(bundle_zip.tempfile.gettempdir()).glob("stinger-bundle-*"))
    with pytest.raises(InputError) as caught:
        load_bundle(path)
    assert set(Path(bundle_zip.tempfile.gettempdir()).glob("stinger-bundle-*")) <= left
    text = str(caught.value)
    assert "\n" not in text
    assert "stinger-bundle-" not in text
    return text


@pytest.fixture(autouse=True)
def _own_temporary(tmp_path, monkeypatch):
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(bundle_zip.tempfile, "tempdir", str(tmp_path / "tmp"))


def test_a_zip_holds_the_directory_byte_for_byte(place):
    files = {
        p.relative_to(place / "b").as_posix(): p.read_bytes()
        for p in (place / "b").rglob("*")
        if p.is_file() and not p.name.startswith(".")
    }
    assert contents(place / "b.zip") == files
    opened = load_bundle(place / "b.zip")
    assert opened.manifest == load_bundle(place / "b").manifest
    assert opened.origin == place / "b.zip"
    assert opened.source_dir.is_dir()
    assert {p.name for p in opened.path.iterdir()} == {name.split("/")[0] for name in files}


def test_the_same_bytes_whatever_the_clock_the_umask_and_the_place(place, model, tmp_path):
    save_model(model, tmp_path / "model")
    program = (
        "import os, sys, time; os.umask(0o077); from pathlib import Path\n"
        "from stinger.models.store import load_model\nfrom stinger_export.bundle import export_bundle\n"
        "export_bundle(load_model(Path('model')), Path('deep/er/c.zip'))\n"
    )
    environment = {**os.environ, "TZ": "Asia/Tokyo", "PYTHONHASHSEED": "7", "OMP_NUM_THREADS": "2"}
    subprocess.run([sys.executable, "-c", program], check=True, cwd=tmp_path, env=environment)
    assert (tmp_path / "deep" / "er" / "c.zip").read_bytes() == (place / "b.zip").read_bytes()
    with zipfile.ZipFile(place / "b.zip") as archive:
        entries = archive.infolist()
    assert entries[0].filename == "manifest.json"
    assert sorted(entries[1:], key=lambda entry: entry.filename) == entries[1:]
    assert {entry.date_time for entry in entries} == {(1980, 1, 1, 0, 0, 0)}
    assert {entry.external_attr >> 16 for entry in entries} == {stat.S_IFREG | 0o644}
    assert {entry.compress_type for entry in entries} == {zipfile.ZIP_STORED}


def test_a_zip_that_fails_leaves_what_was_there(place, model, tmp_path):
    target = Path(shutil.copy(place / "b.zip", tmp_path / "b.zip"))
    with pytest.raises(CheckFailedError):
        export_bundle(model, target, max_loss=1e-6)
    assert target.read_bytes() == (place / "b.zip").read_bytes()
    export_bundle(model, target)
    for name, content in (("notes.zip", b"mine"), ("other.zip", write(tmp_path / "o", {"a": b"b"}).read_bytes())):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match="no bundle that stinger made"):
            export_bundle(model, tmp_path / name)
        assert (tmp_path / name).read_bytes() == content
    (tmp_path / "folder.zip").mkdir()
    with pytest.raises(InputError, match="choose another place"):
        export_bundle(model, tmp_path / "folder.zip")
    assert not list(tmp_path.glob(".*"))


def test_verbs_take_a_zip(place, monkeypatch, tmp_path):
    monkeypatch.setattr("stinger.workflow.check.cross_compiler", lambda: (_ for _ in ()).throw(CheckFailedError("no")))
    seen = []
    monkeypatch.setattr(
        "stinger_export.firmware.build_firmware", lambda source, *_, **__: seen.append(source) or Firmware
    )
    monkeypatch.setattr("stinger_virtual.process.run_virtual", lambda *_, **__: seen.append("ran"))
    code, _, said = run("virtual", place / "b.zip")
    assert (code, said, seen[-1]) == (0, [], "ran")
    assert (seen[0] / "stinger_model_data.c").is_file()
    code, _, said = run("check", write(tmp_path / "x.zip", {"a": b"b"}))
    assert (code, said) == (3, ["stinger: x.zip is not a bundle (no manifest.json); make one with `stinger export`"])


class Firmware:
    uf2 = None


def test_zipped_by_hand_it_still_opens(place, tmp_path):
    """With deflate, a folder around it, and what an operating system leaves in folders."""
    inside = {f"my bundle/{name}": content for name, content in contents(place / "b.zip").items()}
    extra = {"__MACOSX/._x": b"1", "my bundle/.DS_Store": b"2", "my bundle/": b"", "my bundle/.stinger-output": b"3"}
    opened = load_bundle(write(tmp_path / "hand.zip", inside | extra))
    assert opened.integer.hash == load_bundle(place / "b").integer.hash
    assert not list(opened.path.rglob(".*"))


@pytest.mark.parametrize(
    "name",
    [
        "../evil",
        "/etc/evil",
        "a/../../evil",
        "..\\evil",
        "C:\\evil",
        "C:evil",
        "model/../../evil",
        "a\x01b",
        "x" * 1001,
    ],
)
def test_names_that_lead_out_are_refused(place, name, tmp_path):
    inside = contents(place / "b.zip")
    manifest = json.loads(inside["manifest.json"])
    manifest["files"][name] = hashlib.sha256(b"evil").hexdigest()
    inside |= {"manifest.json": json.dumps(manifest).encode(), name: b"evil"}
    said = refused(write(tmp_path / "sub.zip", inside))
    assert "leads out of the zip" in said or "control characters" in said
    assert not list(tmp_path.rglob("*evil*"))


@pytest.mark.parametrize("name", ["notes.txt", "integer/stinger_ml.h", "inner.zip", "Model.onnx", "x/manifest.json"])
def test_what_the_manifest_does_not_name_is_refused(place, name, tmp_path):
    assert "its manifest does not name" in refused(write(tmp_path / "x.zip", contents(place / "b.zip") | {name: b"x"}))


def test_a_file_that_is_missing_is_named(place, tmp_path):
    inside = contents(place / "b.zip")
    del inside["replay.npz"]
    said = refused(write(tmp_path / "x.zip", inside))
    assert f"{tmp_path / 'x.zip'}/replay.npz is not what was exported" in said


def test_links_duplicates_passwords_and_strange_compression_are_refused(place, tmp_path):
    inside = contents(place / "b.zip")
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(write(path, inside), "a") as archive:
        link = zipfile.ZipInfo("model.onnx2")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "/etc/passwd")
    assert "is a link" in refused(path)
    with zipfile.ZipFile(write(path, inside), "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("model.onnx", b"another")
    assert "two entries are called model.onnx" in refused(path)
    data = bytearray(write(path, {"manifest.json": b"{}"}).read_bytes())
    data[6] |= 1  # in the entry's own header and in the directory
    data[data.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(data)
    assert "is encrypted" in refused(path)
    assert "unusual way" in refused(write(path, inside, zipfile.ZIP_LZMA))


def test_too_many_entries_are_refused_before_they_are_listed(place, tmp_path):
    many = contents(place / "b.zip") | {f"f{i}": b"" for i in range(300)}
    assert "256 files" in refused(write(tmp_path / "x.zip", many))
    # A directory of a hundred million entries is believed by nobody, nor one that says it has few.
    for entries in (3, 0xFFFF):
        end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, entries, entries, 2**22, 0, 0)
        (tmp_path / "y.zip").write_bytes(b"PK\x03\x04" + bytes(2**22) + end)
        assert "256 files" in refused(tmp_path / "y.zip")


def with_sizes(data: bytes, name: str, claimed: int) -> bytes:
    """Let a zip claim that an entry unpacks to another size than it does."""
    out = bytearray(data)
    entry = data.index(b"PK\x01\x02")
    while data[entry + 46 : entry + 46 + len(name)] != name.encode():
        entry = data.index(b"PK\x01\x02", entry + 1)
    header = struct.unpack_from("<L", data, entry + 42)[0]
    struct.pack_into("<L", out, entry + 24, claimed)
    struct.pack_into("<L", out, header + 22, claimed)
    return bytes(out)


@pytest.mark.parametrize("name", ["manifest.json", "model.onnx"])
def test_a_bomb_goes_off_nowhere(place, name, tmp_path):
    """An entry of 300 MiB in a third of a megabyte, whether its header says so or not."""
    inside = contents(place / "b.zip")
    inside[name] = bytes(300 << 20)
    honest = write(tmp_path / "x.zip", inside)
    del inside
    assert honest.stat().st_size < 2**20
    tracemalloc.start()
    assert "unpacks to more than" in refused(honest)
    (tmp_path / "y.zip").write_bytes(with_sizes(honest.read_bytes(), name, 1000))
    said = refused(tmp_path / "y.zip")
    assert "is damaged" in said or "unpacks to more than" in said or "not the file" in said
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 16 << 20


def test_not_a_zip(tmp_path):
    for content in (b"", b"PK\x03\x04", b"hello", b"PK\x05\x06" + bytes(18), bytes(100)):
        (tmp_path / "x.zip").write_bytes(content)
        refused(tmp_path / "x.zip")
    assert "is not a bundle" in refused(tmp_path / "nowhere.zip")


def test_a_file_cannot_be_a_folder_too(place, tmp_path):
    inside = contents(place / "b.zip")
    manifest = json.loads(inside["manifest.json"])
    manifest["files"] |= {"a": "0", "a/b": "0"}
    inside |= {"manifest.json": json.dumps(manifest).encode(), "a": b"x", "a/b": b"y"}
    assert "lies in what is a file" in refused(write(tmp_path / "x.zip", inside))
