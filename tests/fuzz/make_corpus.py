"""Write the seed corpora of the fuzz targets: `python tests/fuzz/make_corpus.py`. The same every time.

An image of every kind of model and every feature set, each command and upload, frames and lines, flash with journals.
"""

from __future__ import annotations

import json
import struct
import sys
import zlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "unit"))

from toy import channels_for, toy_dataset  # noqa: E402 - it lies beside the unit tests

from stinger.models.policy import Policy  # noqa: E402
from stinger.models.train import train  # noqa: E402
from stinger_export.image.model import to_image  # noqa: E402
from stinger_export.integer.quantise import quantise  # noqa: E402

CORPUS = HERE / "corpus"
WINDOW = 8
SMALL = {
    "mlp": {"hidden_layer_sizes": (5, 3)},
    "rf": {"n_estimators": 3, "max_depth": 3},
    "hgb": {"max_iter": 3, "min_samples_leaf": 5},
    "torch-cnn": {"filters": (3, 4), "kernel_size": 3, "epochs": 2},
}
#: One of each kind of body, of each feature set, with two and more classes.
MODELS = [
    ("logreg", "summary", 2),
    ("logreg", "flatten", 2),
    ("mlp", "rich", 3),
    ("rf", "invariant", 2),
    ("rf", "invariant_rich", 3),
    ("hgb", "coupled", 2),
    ("logreg", "magnetic", 2),
    ("hgb", "rich", 3),
    ("torch-cnn", "flatten", 2),
]


def images() -> Iterator[tuple[str, bytes]]:
    """Small images, by name; those of two classes have a policy."""
    for family, features, classes in MODELS:
        dataset = toy_dataset(classes=classes, per_class=24, window=WINDOW, channels=channels_for(features))
        model = train(dataset, family, features=features, options=SMALL.get(family), folds=0)
        policy = Policy.stock() if classes == 2 else None
        integer = quantise(replace(model, spec=replace(model.spec, policy=policy)))
        yield f"{family}-{features}", to_image(integer)


def slow(image: bytes) -> bytes:
    """The image with a period of more than half an hour: one and a half of them are more than 32 bits hold."""
    data = bytearray(image)
    for tag in (b"FORM", b"POLI"):
        struct.pack_into("<I", data, data.index(tag) + 8, 0xFFFFFFFE)
    return bytes(data)


def of_frames() -> Iterator[tuple[str, bytes]]:
    """Lines, frames, and what stands in tests/vectors as one stream."""
    vectors = json.loads((HERE.parent / "vectors" / "frames.json").read_text())
    yield "lines", b"\x3f" + piece(b"MLHELLO\nMLREPLAY 3\r\n") + piece(b"x" * 70 + b"\n") + piece(b"a\tb\n\x07\n")
    yield "frames", b"\x3f" + b"".join(piece(bytes(range(n)), 0x80) for n in (0, 1, 22, 60, 127))
    for vector in vectors["streams"][:8]:
        data = bytes.fromhex(vector["bytes"])
        yield vector["name"], b"\x3f" + b"".join(piece(data[i : i + 127]) for i in range(0, len(data), 127))


def piece(data: bytes, kind: int = 0) -> bytes:
    """As fuzz_frames.c reads it."""
    return bytes([kind | len(data)]) + data


def upload(command: int, data: bytes) -> bytes:
    """As fuzz_commands.c reads it; commands are PUT_SLOT, PUT, PUT_LR, PUT_MLP, and 4 more to break off half-way."""
    return bytes([0x40 | command]) + struct.pack("<H", len(data)) + data


def of_commands(known: dict[str, bytes]) -> Iterator[tuple[str, bytes]]:
    """Each command, each upload, a replay, a stream, a dump, a start after each."""
    for number in range(14):
        yield f"command-{number}", bytes([0x20 + number, 0xA0, 0, 16])
    stock = (HERE.parent / "data" / "golden" / "stock_lr.mlmd").read_bytes()
    yield "stock", upload(2, stock) + bytes([0x2A, 0xE0, 0x2A, 0x29])
    small = known["rf-invariant"]
    yield "replay", bytes([0x21, 0x76, 40]) + bytes(i * 37 % 256 for i in range(40 * 12))
    yield "stream", bytes([0x22, 0x81, 30]) + bytes(i * 91 % 256 for i in range(180)) + bytes([0x23])
    yield "dump", bytes([0x81, 30]) + bytes(180) + bytes([0x26, 0xC1, 0xBB, 0xC0, 0xBF])
    yield "rollback", upload(0, small) + bytes([0x20, 0x24, 0x28, 0x20, 0xE0, 0x28, 0x21, 0x27])
    yield "half", upload(4, small) + bytes([0xBB, 0xBB, 0xBB, 0xBB, 0x20])
    yield "faults", bytes([0xD3]) + upload(0, small) + bytes([0xD0]) + upload(1, small) + bytes([0xF0, 9, 1, 4, 0x20])
    yield "text", bytes([0, 40]) + b"MLMODEL_PUT_SLOT 199999 ffffffff\nMLHELLO\n"[:40]
    unfit = bytearray(small)
    unfit[small.index(b"FORM") + 8 + 14] = 19  # no feature set
    yield "unfit", upload(1, bytes(unfit)) + bytes([0x27, 0xE0, 0x20, 0x2A])
    for name, image in known.items():
        if len(image) < 1500:
            yield f"upload-{name}", upload(0, image) + bytes([0x24, 0x22, 0x81, 12]) + bytes(range(0, 216, 3))


def record(sequence: int, active: int, previous: int, slots: list[tuple[int, int]], generation: int = 5) -> bytes:
    """As stinger_store.c writes it; the target puts CRCs right."""
    head = struct.pack("<4sIBBHI", b"MLJ1", sequence, active, previous, 0, generation)
    body = head + b"".join(struct.pack("<III", size, zlib.crc32(bytes(size)), at) for at, size in slots)
    return (body + bytes(4)).ljust(64, b"\xff")


def of_store() -> Iterator[tuple[str, bytes]]:
    """An empty flash, journals of one and two images, full ones; and each thing that is done."""
    update = bytes([0x00]) + struct.pack("<H", 200) + b"\x11abcd\x20\x40"
    steps = update + bytes([0xC0]) + update + bytes([0x60, 0xC0, 0x60]) + update + bytes([0x80, 0xC0])
    for number, size in enumerate((512, 1024, 4096, 128, 256, 512)):
        yield f"empty-{number}", bytes([number]) + struct.pack("<H", 0) + steps
        journal = record(7, 0, 2, [(1, 100), (2, 90)]) + record(8, 1, 0, [(1, 100), (2, 90)])
        if number not in {1, 2}:
            flash = journal[: 2 * size].ljust(2 * size, b"\xff") + bytes(100)
            yield f"journal-{number}", bytes([number]) + struct.pack("<H", len(flash)) + flash + steps
    full = b"".join(record(0xFFFFFFF8 + i & 0xFFFFFFFF, i % 2, 2, [(1, 9), (2, 9)]) for i in range(16))
    yield "full", bytes([0]) + struct.pack("<H", len(full)) + full + steps
    last = record(3, 0, 2, [(1, 100), (2, 90)], 0xFFFFFFFF)
    flash = last.ljust(1024, b"\xff") + bytes(100)
    yield "last-generation", bytes([0]) + struct.pack("<H", len(flash)) + flash + steps
    parts = (update, bytes([0xA3]), update, bytes([0xC0, 0xE1, 9, 0, 0x60, 0xA1]), bytes([0x01]) + update[1:])
    yield "faults", bytes([0]) + struct.pack("<H", 0) + b"".join(parts) + bytes([0x02]) + update[1:]


def main() -> None:
    """Replace the corpora."""
    known = dict(images())
    corpora = {
        "image": [(name, b"\x04" + image) for name, image in known.items()]
        + [("slow", b"\x0c" + slow(known["rf-invariant"]))],
        "commands": list(of_commands(known)),
        "frames": list(of_frames()),
        "store": list(of_store()),
    }
    for target, seeds in corpora.items():
        folder = CORPUS / target
        folder.mkdir(parents=True, exist_ok=True)
        for old in folder.iterdir():
            old.unlink()
        for name, data in seeds:
            (folder / name.replace(" ", "-")).write_bytes(data)
        print(f"{target}: {len(seeds)} seeds, {sum(len(data) for _, data in seeds)} bytes")


if __name__ == "__main__":
    main()
