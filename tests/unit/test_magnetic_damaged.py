"""Damaged bytes of every kind of file that `stinger magnetic` reads: what they are, or one clean line."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stinger.errors import StingerError
from stinger.sessions import mcap_format, phone_log
from stinger.sessions.mcap_format.classifications import read_classifications, write_classifications
from stinger.sessions.mcap_format.labels import labels_path, read_labels
from stinger.sessions.mcap_format.spectrograms import open_spectrograms, read_spectrograms
from stinger.sessions.mcap_format.tables import write_tables
from stinger.sessions.options import ReadOptions
from stinger.synth.imperfections import Imperfections
from stinger.synth.magnetic import generate, streams
from stinger.synth.motion_plan import read_plan
from stinger.synth.patterns import pattern_plan

READERS = {
    "x.plan.json": read_plan,
    "x.labels.json": read_labels,
    "x.mcap": lambda path: mcap_format.read(path, ReadOptions()),
    "x.log.json": lambda path: phone_log.read(path, ReadOptions()),
    "x.spectrogram.mcap": read_spectrograms,
    "x.classification.mcap": read_classifications,
}


@pytest.fixture(scope="module")
def contents(tmp_path_factory):
    """Bytes of a good file of each kind."""

    place = tmp_path_factory.mktemp("good")
    plan = pattern_plan("simple", "mixed", 1.5, 20.0, streams(1)[0])
    (place / "x.plan.json").write_text(json.dumps(plan.to_json()))
    made = generate(plan, Imperfections(), name="x.mcap", seed=1)
    write_tables(made.session, made.times_ns, made.tables(), place / "x.mcap")
    readings = [
        {"ts": 10**6 + 10_000 * i, "type": kind, "values": [i, -2.5, 1e-3]}
        for i in range(4)
        for kind in ("MAG_AUTOCAL", "ACCEL_AUTOCAL", "START")
    ]
    (place / "x.log.json").write_text(json.dumps({"deviceModel": "p", "userLabel": "1", "data": readings}))
    with open_spectrograms(place / "x.spectrogram.mcap", {"spec": {"frames": 3, "mel_bins": 2}}) as writer:
        writer.add(1, np.ones((3, 2), np.float32), b"png")
    write_classifications(place / "x.classification.mcap", np.array([1]), np.array([0]), ["none"])
    assert all(READERS[path.name](path) is not None for path in place.iterdir() if path.name in READERS)
    return {name: (place / name).read_bytes() for name in READERS}


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_damaged_bytes_are_read_or_refused_in_one_line(contents, tmp_path_factory, data):
    name = data.draw(st.sampled_from(sorted(READERS)))
    content = bytearray(contents[name])
    edits = st.tuples(st.integers(0, len(content) - 1), st.binary(min_size=0, max_size=3), st.integers(0, 3))
    for at, patch, cut in data.draw(st.lists(edits, min_size=1, max_size=6)):
        content[at : at + cut] = patch
    path = tmp_path_factory.getbasetemp() / name
    labels_path(path).unlink(missing_ok=True)
    path.write_bytes(bytes(content))
    try:
        assert READERS[name](path) is not None
    except StingerError as error:
        assert "\n" not in str(error)  # noqa: PT017 - either outcome is right
        assert name.split(".")[0] in str(error)  # noqa: PT017
