"""Spectrogram MCAP: written, read back, read from earlier tools, and refused where it would do harm."""

import base64
import io
import json
import pickle
import resource

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mcap.reader import make_reader
from mcap.writer import CompressionType, Writer

from stinger.errors import InputError
from stinger.sessions.mcap_format.spectrograms import METADATA, open_spectrograms, read_spectrograms

SHAPE = (12, 5)
ABOUT = {"spec": {"frames": 12, "mel_bins": 5}, "window_s": 3.0}
PNG = b"\x89PNG\r\n\x1a\n-"


def arrays(n=3, shape=SHAPE):
    return np.random.default_rng(1).normal(size=(n, *shape)).astype(np.float32)


def written(path, values, times=(3 * 10**9, 13 * 10**9, 23 * 10**9)):
    with open_spectrograms(path, ABOUT) as writer:
        for time, one in zip(times, values, strict=False):
            writer.add(time, one, PNG)
    return path


def npy(array, **options):
    stream = io.BytesIO()
    np.save(stream, array, **options)
    return base64.b64encode(stream.getvalue()).decode()


def foreign(messages, about=None):
    """A file of another tool, without checksums."""
    stream = io.BytesIO()
    writer = Writer(stream, compression=CompressionType.NONE, enable_crcs=False)
    writer.start()
    if about is not None:
        writer.add_metadata(METADATA, {"about": about})
    schema = writer.register_schema("input_values", "jsonschema", b"{}")
    channel = writer.register_channel("input_values", "json", schema)
    for time, data in messages:
        writer.add_message(channel, time, json.dumps({"data": data}).encode(), time)
    writer.finish()
    return stream.getvalue()


def test_what_is_written_is_read(tmp_path):
    values = arrays()
    path = written(tmp_path / "x.mcap", values)
    back = read_spectrograms(path)
    np.testing.assert_array_equal(back.values, values)
    assert back.values.dtype == np.float32
    assert back.times_ns.tolist() == [3 * 10**9, 13 * 10**9, 23 * 10**9]
    assert (back.about["window_s"], back.turned, len(back)) == (3.0, 0, 3)
    assert written(tmp_path / "y.mcap", values).read_bytes() == path.read_bytes()


def test_messages_are_as_the_format_says(tmp_path):
    path = written(tmp_path / "x.mcap", arrays(1))
    with path.open("rb") as stream:
        found = {c.topic: (s, m.log_time, json.loads(m.data)) for s, c, m in make_reader(stream).iter_messages()}
    schema, log_time, picture = found["spectrogram"]
    assert (schema.name, schema.encoding, log_time) == ("foxglove.CompressedImage", "jsonschema", 3 * 10**9)
    assert set(json.loads(schema.data)["properties"]) == {"timestamp", "frame_id", "data", "format"} == set(picture)
    assert (picture["format"], picture["timestamp"]) == ("png", {"sec": 3, "nsec": 0})
    assert base64.b64decode(picture["data"]) == PNG
    _, log_time, message = found["input_values"]
    array = np.load(io.BytesIO(base64.b64decode(message["data"])), allow_pickle=False)
    assert (log_time, array.shape, array.dtype) == (3 * 10**9, SHAPE, np.float32)


def test_old_files_lie_on_their_side_and_are_put_right(tmp_path):
    """Earlier tools save the transpose of the extractor's array, as numpy does: in Fortran order, pickle allowed."""
    right = arrays(2, (1024, 128))
    old = foreign([(20, npy(right[1].T, allow_pickle=True)), (10, npy(right[0].T, allow_pickle=True))])
    (tmp_path / "old.mcap").write_bytes(old)
    back = read_spectrograms(tmp_path / "old.mcap")
    np.testing.assert_array_equal(back.values, right)
    assert (back.times_ns.tolist(), back.turned, back.about) == ([10, 20], 2, {})


def test_other_tools_arrays_the_right_way_round_stay(tmp_path):
    right = arrays(1)
    (tmp_path / "x.mcap").write_bytes(foreign([(1, npy(right.astype(np.float64)))]))
    back = read_spectrograms(tmp_path / "x.mcap", SHAPE)
    np.testing.assert_array_equal(back.values, right)
    assert back.turned == 0
    (tmp_path / "y.mcap").write_bytes(foreign([(1, npy(arrays(1)[0].T))]))
    assert read_spectrograms(tmp_path / "y.mcap", SHAPE).turned == 1


class Bomb:
    def __reduce__(self):
        return (pytest.fail, ("code in a file was run",))


def test_pickled_objects_are_refused_and_never_run(tmp_path):
    path = tmp_path / "x.mcap"
    harm = npy(np.array([Bomb(), None], dtype=object), allow_pickle=True)
    for data in (harm, base64.b64encode(pickle.dumps(Bomb())).decode()):
        path.write_bytes(foreign([(1, data)]))
        with pytest.raises(InputError, match=r"x\.mcap: input_values: no array of numbers") as caught:
            read_spectrograms(path)
        assert "\n" not in str(caught.value)
    path.write_bytes(foreign([(1, harm)]))
    with pytest.raises(InputError, match="pickled Python objects, which could run code"):
        read_spectrograms(path)


def header(text):
    text = text.encode().ljust(118) + b"\n"
    return base64.b64encode(b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + b"\0" * 64).decode()


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (3, "no text 'data'"),
        ("?", "not base64"),
        ("", "no array of numbers"),
        (header("{'descr': '<f4', 'fortran_order': False, 'shape': (1024, 128, 1000000)}"), "another size"),
        (header("{'descr': '<f4', 'fortran_order': False, 'shape': (-4, -4)}"), "no array of numbers"),
        (header("(" * 110), "no array of numbers"),
        (header("{'descr': '|V1000000', 'fortran_order': False, 'shape': (1,)}"), "no array of numbers"),
        (npy(np.zeros((1024, 127), np.float32)), "frames before bands"),
        (npy(np.zeros((2, 1024, 128), np.float16)), "frames before bands"),
        (npy(np.zeros((1024, 128), np.int8)), "frames before bands"),
        (npy(np.full((128, 1024), np.nan, np.float16)), "not finite"),
        (npy(np.full((1024, 32), 1e200)), "frames before bands"),
    ],
)
def test_arrays_that_are_none_are_one_line(tmp_path, data, said):
    path = tmp_path / "x.mcap"
    path.write_bytes(foreign([(1, data)]))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(InputError, match=said) as caught:
        read_spectrograms(path)
    assert str(caught.value).startswith("x.mcap: input_values: ")
    assert "\n" not in str(caught.value)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # KiB


@pytest.mark.parametrize(
    ("about", "said"),
    [
        ("{", "not valid JSON"),
        ("[" * 5000, "not valid JSON"),
        ("[]", "'version'"),
        ('{"version": 2}', "'version'"),
        ('{"version": 1}', "'spec'"),
        ('{"version": 1, "spec": {"frames": 12, "mel_bins": 1000000000}}', "'spec'"),
        ('{"version": 1, "spec": {"frames": true, "mel_bins": 5}}', "'spec'"),
        ('{"version": 1, "spec": {"frames": 5, "mel_bins": 12}}', "frames before bands"),
        ('{"version": 1, "spec": "' + "x" * 100_000 + '"}', "'version'"),
    ],
)
def test_descriptions_that_make_no_sense_are_one_line(tmp_path, about, said):
    """One of them describes arrays that lie on their side: what a file says of itself is held against it."""
    path = tmp_path / "x.mcap"
    path.write_bytes(foreign([(1, npy(arrays(1)[0]))], about))
    with pytest.raises(InputError, match=said) as caught:
        read_spectrograms(path)
    assert "\n" not in str(caught.value)


def test_a_wanted_shape_is_held_against_the_file(tmp_path):
    path = written(tmp_path / "x.mcap", arrays())
    assert read_spectrograms(path, SHAPE).values.shape == (3, *SHAPE)
    with pytest.raises(InputError, match=r"\(12, 5\) frames and bands, \(1024, 128\) are needed"):
        read_spectrograms(path, (1024, 128))


def test_what_would_not_read_back_is_not_written(tmp_path):
    good = arrays(1)[0]
    for values, time in (
        (good.T, 1),
        (good.astype(np.float64), 1),
        (np.full_like(good, np.inf), 1),
        (good, -1),
        (good, 1 << 63),
    ):
        with pytest.raises(InputError), open_spectrograms(tmp_path / "x.mcap", ABOUT) as writer:
            writer.add(time, values, PNG)
    with pytest.raises(InputError, match="too early"):
        written(tmp_path / "x.mcap", [good] * 2, times=[2, 1])
    with pytest.raises(InputError, match="too large"), open_spectrograms(tmp_path / "x.mcap", ABOUT) as writer:
        writer.add(2, good, bytes(1 << 20))
    with pytest.raises(InputError, match="no window to write"), open_spectrograms(tmp_path / "x.mcap", ABOUT):
        pass
    with pytest.raises(InputError, match="'spec'"), open_spectrograms(tmp_path / "x.mcap", {}):
        pass
    assert list(tmp_path.iterdir()) == []


@settings(max_examples=120, deadline=None)
@given(st.data())
def test_damaged_bytes_are_spectrograms_or_one_line(tmp_path_factory, data):
    about = json.dumps(ABOUT | {"version": 1}) if data.draw(st.booleans()) else None
    content = bytearray(foreign([(i, npy(array)) for i, array in enumerate(arrays(2))], about))
    edits = st.tuples(st.integers(0, len(content) - 1), st.integers(0, 255))
    for at, value in data.draw(st.lists(edits, min_size=1, max_size=6)):
        content[at] = value
    path = tmp_path_factory.getbasetemp() / "fuzz.mcap"
    path.write_bytes(bytes(content))
    try:
        back = read_spectrograms(path, SHAPE)
        assert back.values.shape == (len(back), *SHAPE)
        assert np.isfinite(back.values).all()
    except InputError as error:
        assert "\n" not in str(error)  # noqa: PT017 - either outcome is right
