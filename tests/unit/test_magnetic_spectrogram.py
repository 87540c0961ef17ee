"""`stinger magnetic spectrogram`, as typed: what it writes, of which recordings, and what it says when it cannot."""

import base64
import io
import json
from types import SimpleNamespace

import matplotlib.image
import numpy as np
import pytest
from cli_in_process import run
from mcap.reader import make_reader

from stinger.features.spectrogram import AST, SpectrogramSpec, input_values
from stinger.sessions import mcap_format
from stinger.sessions.mcap_format.labels import labels_path, read_labels
from stinger.sessions.mcap_format.spectrograms import read_spectrograms
from stinger.sessions.options import ReadOptions
from stinger.sessions.session import STINGER_CHANNELS, Session
from stinger.sessions.stinger_log import write_bin
from stinger.workflow import upload

SMALL = ("--frames", 60, "--mel-bins", 16, "--sound-rate", 1000, "--frame-ms", 64, "--hop-ms", 32)
SMALL_SPEC = SpectrogramSpec(sample_rate_hz=1000, frames=60, mel_bins=16, frame_ms=64, hop_ms=32)


@pytest.fixture(scope="module")
def field(tmp_path_factory):
    """Half a minute at 50 Hz, mixed distortion."""
    path = tmp_path_factory.mktemp("field") / "field.mcap"
    assert run("magnetic", "generate", "--out", path, "--duration", 30, "--sample-rate", 50)[0] == 0
    return path


def made(source, target, *arguments):
    code, out, complaints = run("magnetic", "spectrogram", source, "--out", target, *arguments, "--json")
    assert (code, complaints) == (0, [])
    return json.loads(out)


def test_a_recording_becomes_what_the_transformer_takes(field, tmp_path):
    [row] = made(field, tmp_path / "s.mcap")
    assert (row["windows"], row["shape"], row["channels"], row["rate_hz"]) == (3, [1024, 128], ["mx", "my", "mz"], 50.0)
    assert row["faults"] == []
    assert sum(row["labels"].values()) == 3
    assert 20 < row["sounding_bands"] < 64
    back = read_spectrograms(tmp_path / "s.mcap", AST.shape)
    assert back.times_ns.tolist() == [2_980_000_000, 12_980_000_000, 22_980_000_000]
    [session] = mcap_format.read(field, ReadOptions())
    windows = np.stack([session.samples[a : a + 150, :3] for a in (0, 500, 1000)]) * session.channels[0].scale
    np.testing.assert_array_equal(back.values, input_values(windows, 50.0))
    assert SpectrogramSpec.from_json(back.about["spec"], "s.mcap") == AST
    assert (back.about["source"], back.about["window_s"], back.about["step_s"]) == ("field.mcap", 3.0, 10.0)
    assert read_labels(labels_path(tmp_path / "s.mcap")) == read_labels(labels_path(field))


def test_windows_have_the_label_that_they_lie_in(field, tmp_path):
    """Segments of 5 s; a window that begins 4 s into one ends in the next."""
    [row] = made(field, tmp_path / "s.mcap", *SMALL, "--step", 1, "--no-pictures")
    events = [(event.start_us, event.end_us, event.label) for event in read_labels(labels_path(field))]
    expected = {"no label": 0}
    for start in range(0, 27_000_001, 1_000_000):
        labels = [label for a, b, label in events if a <= start and start + 2_980_000 <= b]
        expected[labels[0] if labels else "no label"] = expected.get(labels[0] if labels else "no label", 0) + 1
    assert row["labels"] == expected
    assert expected["no label"] == 10


def test_uploading_sends_the_file_and_its_labels(field, tmp_path, monkeypatch):
    sent = []
    uploader = SimpleNamespace(upload=lambda path, name, overwrite: sent.append((path, name, overwrite)) or name)
    monkeypatch.setattr(upload, "required_uploader", lambda: uploader)
    made(field, tmp_path / "s.mcap", *SMALL, "--no-pictures", "--upload")
    path = tmp_path / "s.mcap"
    assert not (tmp_path / "s.experiment.json").exists()
    assert sent == [(path, "s.mcap", True), (labels_path(path), "s.labels.json", True)]


def test_streaming_gives_the_same_bytes_and_so_does_another_run(field, tmp_path):
    files = [tmp_path / str(number) / "s.mcap" for number in range(3)]
    for path, flags in zip(files, ((), ("--streaming",), ()), strict=True):
        made(field, path, *SMALL, "--step", 4, *flags)
    assert len({path.read_bytes() for path in files}) == 1


def test_pictures_have_time_to_the_right_and_frequency_upward(tmp_path):
    """A slow wobble is followed by a fast one, which is further up."""
    t = np.arange(900) / 100
    samples = np.zeros((900, 6), dtype=np.int16)
    samples[:, 0] = 8000 * np.sin(2 * np.pi * np.where(t % 3 > 1.5, 30, 6) * t)
    session = Session("x", (t * 1e6).round().astype(np.int64), samples, STINGER_CHANNELS, 10_000)
    mcap_format.write([session], tmp_path / "x.mcap")
    spec = ("--sound-rate", 100, "--frame-ms", 320, "--hop-ms", 40, "--frames", 75, "--mel-bins", 16, "--low-hz", 1)
    [row] = made(tmp_path / "x.mcap", tmp_path / "s.mcap", "--channels", "ax", *spec)
    assert row["windows"] == 1
    with (tmp_path / "s.mcap").open("rb") as stream:
        messages = {c.topic: json.loads(m.data) for _, c, m in make_reader(stream).iter_messages()}
    assert (messages["spectrogram"]["format"], messages["spectrogram"]["timestamp"]["sec"]) == ("png", 2)
    picture = matplotlib.image.imread(io.BytesIO(base64.b64decode(messages["spectrogram"]["data"])))
    height, width, _ = picture.shape
    # Green is what viridis has more of, the brighter it gets.
    inside = picture[int(0.14 * height) : int(0.82 * height), int(0.1 * width) : int(0.97 * width), 1]
    tall, wide = inside.shape
    halves = {"left": inside[:, : wide // 2 - 30], "right": inside[:, wide // 2 + 30 :]}
    # From below: 6 Hz lie at a tenth of the height, 30 Hz at six.
    slow, fast = (
        {name: half[int((0.95 - at) * tall) : int((1.02 - at) * tall)].mean() for name, half in halves.items()}
        for at in (0.1, 0.58)
    )
    assert slow["left"] > fast["left"] + 0.3
    assert fast["right"] > slow["right"] + 0.2


def test_without_pictures_there_are_arrays_only(field, tmp_path):
    made(field, tmp_path / "s.mcap", *SMALL, "--no-pictures")
    with (tmp_path / "s.mcap").open("rb") as stream:
        assert {c.topic for _, c, _ in make_reader(stream).iter_messages()} == {"input_values"}
    assert len(read_spectrograms(tmp_path / "s.mcap")) == 3


def test_a_plot_shows_a_window_of_each_label(field, tmp_path):
    made(field, tmp_path / "s.mcap", *SMALL, "--step", 1, "--no-pictures", "--plot", tmp_path / "p.png")
    picture = matplotlib.image.imread(tmp_path / "p.png")
    assert picture.shape[1] > 2.5 * picture.shape[0]
    first = (tmp_path / "p.png").read_bytes()
    made(field, tmp_path / "s.mcap", *SMALL, "--step", 1, "--no-pictures", "--plot", tmp_path / "p.png")
    assert (tmp_path / "p.png").read_bytes() == first


def blaster(seconds=12, gap_at=None):
    n = seconds * 100
    t_us = np.arange(n, dtype=np.int64) * 10_000
    if gap_at is not None:
        t_us[gap_at:] += 5_000_000
    samples = np.random.default_rng(1).integers(-500, 500, size=(n, 6), dtype=np.int16)
    return Session("b.bin", t_us, samples, STINGER_CHANNELS, 10_000, trigger=np.zeros(n, np.uint8))


def test_a_blasters_log_and_any_of_its_channels(tmp_path):
    write_bin(blaster(gap_at=250), tmp_path / "b.bin")
    spec = ("--frames", 160, *SMALL[2:])
    [row] = made(tmp_path / "b.bin", tmp_path / "s.mcap", *spec, "--channels", "gyro_raw, ax", "--step", 3)
    assert (row["channels"], row["labels"]) == (["gx", "gy", "gz", "ax"], {"no label": 3})
    assert row["faults"][-1] == "1 stretches without a gap (250 samples) are shorter than a window"
    # The recording's first stretch is shorter than a window, its second one is from 7.5 s on.
    ends = [10_490, 13_490, 16_490]
    assert read_spectrograms(tmp_path / "s.mcap").times_ns.tolist() == [end * 10**6 for end in ends]
    assert not labels_path(tmp_path / "s.mcap").exists()
    code, out, _ = run("magnetic", "spectrogram", tmp_path / "b.bin", "--out", tmp_path / "all.mcap", *SMALL)
    assert code == 0
    assert "fault: all.mcap: 89% of each window lie beyond 60 frames and are cut off" in out


def test_a_folder_becomes_a_folder(field, tmp_path):
    (tmp_path / "in").mkdir()
    for name in ("a", "b"):
        (tmp_path / "in" / f"{name}.mcap").write_bytes(field.read_bytes())
    rows = made(tmp_path / "in", tmp_path / "out", *SMALL, "--no-pictures")
    assert [row["file"] for row in rows] == ["a.mcap", "b.mcap"]
    assert all(len(read_spectrograms(tmp_path / "out" / row["file"])) == 3 for row in rows)


def test_of_several_recordings_in_a_file_the_one_with_the_channels(tmp_path):
    one = blaster()
    magnetic = Session(
        "m", one.t_us, one.samples[:, :3], mcap_channels("mx", "my", "mz"), 10_000, label="low", events=()
    )
    mcap_format.write([magnetic, Session("a", one.t_us, one.samples, STINGER_CHANNELS, 10_000)], tmp_path / "x.mcap")
    [row] = made(tmp_path / "x.mcap", tmp_path / "s.mcap", *SMALL, "--no-pictures")
    assert (row["recording"], row["labels"]) == ("m", {"low": 1})
    [row] = made(tmp_path / "x.mcap", tmp_path / "s.mcap", *SMALL, "--no-pictures", "--recording", "a")
    assert (row["recording"], len(row["channels"])) == ("a", 6)


def mcap_channels(*names):
    return tuple(type(STINGER_CHANNELS[0])(name, "earth field", 1 / 8192) for name in names)


def test_labels_of_an_earlier_file_do_not_stay(field, tmp_path):
    write_bin(blaster(), tmp_path / "b.bin")
    for source in (field, tmp_path / "b.bin"):
        made(source, tmp_path / "s.mcap", *SMALL, "--no-pictures")
    assert read_labels(labels_path(tmp_path / "s.mcap")) == []


def test_times_below_zero_are_moved_and_said(tmp_path):
    one = blaster()
    early = Session("e", one.t_us - 4_000_000, one.samples, STINGER_CHANNELS, 10_000)
    mcap_format.write([early], tmp_path / "e.mcap")
    [row] = made(tmp_path / "e.mcap", tmp_path / "s.mcap", *SMALL, "--channels", "acc_raw", "--step", 3)
    assert row["faults"][-1].startswith("times are 4000000 us later")
    assert read_spectrograms(tmp_path / "s.mcap").times_ns[0] == 2_990_000_000


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["none.mcap", "--out", "s.mcap"], 3, "does not exist"),
        (["field.mcap", "--out", "field.mcap"], 2, "field.mcap is the recording itself"),
        (["field.mcap", "--out", "s.png"], 2, "s.png: spectrograms become .mcap files"),
        (["field.mcap", "--out", "s.mcap", "--channels", "mag_up"], 2, "no channel 'mag_up'; it has mx, my"),
        (["field.mcap", "--out", "s.mcap", "--channels", "mx,mag_raw"], 2, "one of them twice"),
        (["field.mcap", "--out", "s.mcap", "--channels", ""], 2, "no channel ''"),
        (["field.mcap", "--out", "s.mcap", "--recording", "x"], 2, "--recording 'x': there is none of that name"),
        (["field.mcap", "--out", "s.mcap", "--window", "0"], 2, "--window must be more than 0"),
        (["field.mcap", "--out", "s.mcap", "--step", "nan"], 2, "--step must be more than 0"),
        (["field.mcap", "--out", "s.mcap", "--window", "31"], 3, "no stretch without a gap as long as a window"),
        (
            ["field.mcap", "--out", "s.mcap", "--window", "0.001", "--channels", "mx"],
            3,
            "shorter than a frame of 400 samples",
        ),
        (["field.mcap", "--out", "s.mcap", "--window", "25"], 3, "is longer than 960000 samples at 16000 Hz"),
        (["field.mcap", "--out", "s.mcap", "--frames", "0"], 2, "spectrogram: frames must be 1 to 8192, is 0"),
        (["field.mcap", "--out", "s.mcap", "--frames", "8192", "--mel-bins", "1024"], 3, "too large for a message"),
        (["folder", "--out", "s.mcap"], 2, "s.mcap is one file, several recordings need a directory"),
        (["folder", "--out", "s", "--plot", "p.png"], 2, "--plot draws one recording"),
        (["cut.mcap", "--out", "s.mcap"], 3, "cut.mcap: the file is cut short"),
        (["spectrogram.mcap", "--out", "s.mcap"], 3, "no messages of sensors"),
    ],
)
def test_mistakes_are_one_line(field, tmp_path, monkeypatch, arguments, code, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    for path in ("field.mcap", "folder/a.mcap", "folder/b.mcap"):
        (tmp_path / path).write_bytes(field.read_bytes())
    (tmp_path / "cut.mcap").write_bytes(field.read_bytes()[:-100])
    if arguments[0] == "spectrogram.mcap":
        made(field, "spectrogram.mcap", *SMALL, "--no-pictures")
    before = sorted(tmp_path.rglob("*"))
    done, out, complaints = run("magnetic", "spectrogram", *arguments, "--no-pictures")
    assert (done, out) == (code, "")
    [line] = complaints
    assert message in line
    assert sorted(tmp_path.rglob("*")) == before
