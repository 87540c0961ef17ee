"""`stinger magnetic generate` and `convert`, as typed: what they write, and what they say when something is wrong."""

import json
import shutil

import numpy as np
import pytest
from cli_in_process import run
from mcap.reader import make_reader

from stinger.sessions import mcap_format
from stinger.sessions.mcap_format.labels import LEVELS, labels_path, read_labels
from stinger.sessions.options import ReadOptions
from stinger.synth.motion_plan import read_plan

TOPICS = ["pose_truth", "mag_truth", "acc_truth", "gyro_truth", "pose", "mag_raw", "acc_raw", "gyro_raw"]


def generated(place, *arguments):
    code, out, complaints = run("magnetic", "generate", "--out", place, *arguments, "--json")
    assert (code, complaints) == (0, [])
    return json.loads(out)


def values(path, topic):
    """Exact values of a topic, as any reader of the file finds them."""
    with path.open("rb") as stream:
        messages = make_reader(stream).iter_messages(topics=[topic])
        return np.array([json.loads(message.data)["values"] for _, _, message in messages])


def test_a_recording_with_labels_and_experiment(tmp_path):
    path = tmp_path / "walk.mcap"
    [row] = generated(path, "--duration", 9, "--sample-rate", 50, "--pattern", "simple", "--seed", 4)
    assert (row["file"], row["samples"], row["rate_hz"], row["segments"]) == ("walk.mcap", 450, 50, 3)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["walk.experiment.json", "walk.labels.json", "walk.mcap"]
    labels = json.loads(labels_path(path).read_text())["events"]
    assert sorted(e["metadata"]["mag_distortion"] for e in labels) == ["0", "1", "2"]
    assert [e["startTime"] for e in labels] == [{"sec": 3 * i, "nsec": 0} for i in range(3)]
    experiment = json.loads((tmp_path / "walk.experiment.json").read_text())
    assert list(experiment) == ["dirname", "labelFiles", "description", "segments", "metadata"]
    assert experiment["labelFiles"] == [{"filePath": "walk.labels.json"}]
    assert [s["mag_distortion"]["level"] for s in experiment["segments"]] == [
        e.label for e in read_labels(labels_path(path))
    ]
    assert [s["start_sample"] for s in experiment["segments"]] == [0, 150, 300]
    assert (experiment["metadata"]["seed"], experiment["metadata"]["imperfections"]["mag_noise"]) == (4, 0.01)
    assert {topic: len(values(path, topic)) for topic in TOPICS} == dict.fromkeys(TOPICS, 450)
    for level, facts in row["field_strength"].items():
        assert facts["samples"] == 150
        assert (abs(facts["mean"] - 1) < 0.02) or level != "none"


def test_a_seed_gives_the_same_bytes(tmp_path):
    for name in ("a", "b"):
        generated(tmp_path / name, "--duration", 6, "--recordings", 2)
    one, two = ({p.name: p.read_bytes() for p in (tmp_path / name).iterdir()} for name in ("a", "b"))
    assert one == two
    assert [name for name in sorted(one) if name.endswith(".mcap")] == ["complex-mixed-1.mcap", "complex-mixed-2.mcap"]
    generated(tmp_path / "complex-mixed-2.mcap", "--duration", 6, "--seed", 2)
    assert (tmp_path / "complex-mixed-2.mcap").read_bytes() == one["complex-mixed-2.mcap"]
    assert one["complex-mixed-1.mcap"] != one["complex-mixed-2.mcap"]


def test_a_plan_and_its_pattern_make_the_same(tmp_path):
    pattern, plan = tmp_path / "a" / "x.mcap", tmp_path / "b" / "x.mcap"
    generated(pattern, "--duration", 6, "--noise", 0, "--save-plan", tmp_path / "plan.json")
    generated(plan, tmp_path / "plan.json", "--noise", 0)
    assert pattern.read_bytes() == plan.read_bytes()
    assert len(read_plan(tmp_path / "plan.json").segments) == 3
    np.testing.assert_allclose(values(plan, "mag_raw"), values(plan, "mag_truth"), rtol=0, atol=0)


@pytest.mark.parametrize("level", LEVELS)
def test_one_level_labels_every_segment(tmp_path, level):
    [row] = generated(tmp_path / "x.mcap", "--distortion", level, "--duration", 20)
    assert list(row["field_strength"]) == [level]
    (session,) = mcap_format.read(tmp_path / "x.mcap", ReadOptions())
    assert {event.label for event in session.events} == {level}


def test_reference_timing_overshoots(tmp_path):
    sizes = [
        generated(tmp_path / f"{i}.mcap", "--duration", 6, "--sample-rate", 140, *flags)[0]["samples"]
        for i, flags in enumerate([(), ("--reference-timing",)])
    ]
    assert sizes == [840, 843]


def test_noise_is_settable(tmp_path):
    rows = [
        generated(tmp_path / f"{i}.mcap", "--distortion", "none", "--duration", 5, *flags)[0]["field_strength"]["none"]
        for i, flags in enumerate([("--noise", 0), (), ("--mag-noise", 0.2), ("--hard-iron", 0, "--mag-noise", 0)])
    ]
    assert rows[0]["std"] == 0
    assert 0 < rows[3]["std"] < rows[1]["std"] < 0.05 < rows[2]["std"]


def test_the_table_is_for_people(tmp_path):
    code, out, _ = run("magnetic", "generate", "--out", tmp_path / "x.mcap", "--duration", 3, "--noise", 0)
    assert code == 0
    assert "x.mcap" in out
    assert "1.000 ± 0.000" in out
    assert "seconds" in out


MUTE = {
    "initialization": {"pose": {"rotation": {"w": 1, "x": 0, "y": 0, "z": 0}}, "sample_rate": 100},
    "segments": [
        {
            "name": "s",
            "duration_s": 1,
            "rotation_rpy_degrees": {"roll": 9, "pitch": 0, "yaw": 0},
            "mag_distortion": {"level": "high"},
        }
    ],
}


def test_a_plan_whose_labels_say_nothing_is_reported(tmp_path):
    (tmp_path / "mute.json").write_text(json.dumps(MUTE))
    code, out, _ = run("magnetic", "generate", tmp_path / "mute.json", "--out", tmp_path / "x.mcap")
    assert code == 0
    assert "fault: x.mcap: 1 segments are labelled distorted and have no world vector" in out
    code, out, _ = run("info", tmp_path / "x.mcap")
    assert "no world vector: they distort nothing" in out


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--out", "x.csv"], 2, "x.csv: recordings become .mcap files"),
        (["--out", "x.mcap", "--recordings", "2"], 2, "x.mcap is one file, several recordings need a directory"),
        (["--out", "x.mcap", "--pattern", "spin"], 2, "--pattern 'spin' is unknown; choose simple"),
        (["--out", "x.mcap", "--distortion", "medium"], 2, "--distortion 'medium' is unknown; choose none"),
        (["--out", "x.mcap", "--duration", "0"], 2, "--duration 0 s at 100 Hz is 0 samples"),
        (["--out", "x.mcap", "--sample-rate", "0"], 2, "--sample-rate must be 1 to 10,000 Hz, is 0"),
        (["--out", "x.mcap", "--noise", "-1"], 2, "--noise must be 0 to 100, is -1"),
        (["--out", "x.mcap", "--soft-iron", "nan"], 2, "--soft-iron must be 0 to 100, is nan"),
        (["plan.json", "--out", "x.mcap", "--duration", "5"], 2, "are what a plan says; leave them out"),
        (["plan.json", "--out", "x.mcap"], 3, "cannot read plan.json: it does not exist; give a motion plan in JSON"),
        (["--out", "folder"], 3, "folder is not empty and was not made by stinger"),
        (["--out", "x.mcap/y.mcap"], 3, "cannot write"),
    ],
)
def test_mistakes_are_one_line(tmp_path, monkeypatch, arguments, code, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "mine").write_text("")
    if "x.mcap/y.mcap" in arguments:
        (tmp_path / "x.mcap").write_text("")
    before = sorted(tmp_path.rglob("*"))
    done, out, complaints = run("magnetic", "generate", *arguments)
    assert (done, out) == (code, "")
    [line] = complaints
    assert message in line
    assert sorted(tmp_path.rglob("*")) == before


def phone_log(seconds=2.0, wobble=0.0, **head):
    data = []
    sensors = {"MAG_AUTOCAL": 30.5, "ACCEL_AUTOCAL": 0.5, "GYRO_AUTOCAL": 0.25}
    for number, (kind, strength) in enumerate(sensors.items()):
        data += [
            {
                "ts": 10**6 + 3000 * number + 10_000 * i,
                "type": kind,
                "values": [strength + wobble * (i % 7), -2, number],
            }
            for i in range(round(seconds * 100))
        ]
    return json.dumps({"deviceModel": "phone", "userLabel": "", **head, "data": data})


def test_a_phone_log_becomes_a_recording(tmp_path):
    (tmp_path / "log.json").write_text(phone_log(userLabel="1"))
    path = tmp_path / "log.mcap"
    code, out, _ = run("magnetic", "convert", tmp_path / "log.json", path, "--json")
    assert code == 0
    [row] = json.loads(out)
    assert (row["labels"], [r["label"] for r in row["recordings"]]) == (["low"], ["low"] * 3)
    assert [s.name for s in mcap_format.read(path, ReadOptions())] == [
        "log.json:mag_raw",
        "log.json:acc_raw",
        "log.json:gyro_raw",
    ]
    np.testing.assert_allclose(values(path, "mag_raw"), [[30.5, -2, 0]] * 200)
    experiment = json.loads((tmp_path / "log.experiment.json").read_text())
    assert experiment["labelFiles"] == [{"filePath": "log.labels.json"}]
    assert [s["name"] for s in experiment["segments"]] == ["low"]


def test_logs_become_nine_channels_that_can_be_learnt(tmp_path):
    (tmp_path / "logs" / "home").mkdir(parents=True)
    for level in range(3):
        for number in range(2):
            path = tmp_path / "logs" / "home" / f"{level}-{number}.json"
            path.write_text(phone_log(6.0, 0.1 * (3 * number + level + 1), userLabel=str(level)))
    code, out, _ = run("magnetic", "convert", tmp_path / "logs", tmp_path / "out", "--rate", 50)
    assert code == 0
    assert "home/2-1.mcap" in out
    assert sorted(p.suffix for p in (tmp_path / "out" / "home").iterdir()) == [".json"] * 12 + [".mcap"] * 6
    arguments = ("--outdir", tmp_path / "ml", "--plots", "none", "--json")
    code, out, complaints = run("explore", tmp_path / "out", *arguments)
    assert (code, complaints) == (0, [])
    summary = json.loads(out)
    assert [c["name"] for c in summary["channels"]] == ["mx", "my", "mz", "ax", "ay", "az", "gx", "gy", "gz"]
    assert set(summary["windows"]) == set(LEVELS)
    assert summary["period_us"] == 20_000


def test_a_level_can_be_given(tmp_path):
    (tmp_path / "log.json").write_text(phone_log())
    for flags, labels in (((), []), (("--level", "high"), ["high"])):
        code, out, _ = run("magnetic", "convert", tmp_path / "log.json", tmp_path / "log.mcap", *flags, "--json")
        assert code == 0
        assert json.loads(out)[0]["labels"] == labels
        experiment = json.loads((tmp_path / "log.experiment.json").read_text())
        assert len(experiment["labelFiles"]) == len(labels)
    (event,) = read_labels(tmp_path / "log.labels.json")
    assert (event.start_us, event.end_us) == (10**6, 10**6 + 6000 + 199 * 10_000)
    assert "no label" not in run("magnetic", "convert", tmp_path / "log.json", tmp_path / "b.mcap", "--level", "low")[1]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["none.json", "x.mcap"], 3, "does not exist"),
        (["log.json", "log.json"], 2, "log.json is the log itself"),
        (["log.json", "x.bin"], 2, "x.bin: recordings become .mcap files"),
        (["log.json", "x.mcap", "--level", "medium"], 2, "--level 'medium' is unknown; choose none, low, high"),
        (["log.json", "x.mcap", "--rate", "0"], 2, "--rate must be 1 to 10000 Hz, is 0"),
        (["still.json", "x.mcap"], 3, "still.json: no readings of a magnetometer (MAG_AUTOCAL) in it"),
        (["other.csv", "x.mcap"], 3, "other.csv is not a phone's sensor log (.json); use `stinger convert`"),
        (["cut.json", "x.mcap"], 3, "cut.json is not valid JSON"),
        (["logs", "x.mcap"], 2, "x.mcap is one file, several recordings need a directory"),
    ],
)
def test_conversions_that_cannot_be(tmp_path, monkeypatch, arguments, code, message):
    monkeypatch.chdir(tmp_path)
    text = phone_log()
    (tmp_path / "log.json").write_text(text)
    (tmp_path / "cut.json").write_text(text[:-100])
    (tmp_path / "still.json").write_text(text.replace("MAG_AUTOCAL", "LIGHT"))
    (tmp_path / "other.csv").write_text("time,ax\n0,1\n1,2\n")
    shutil.copytree(tmp_path, tmp_path / "logs", ignore=shutil.ignore_patterns("logs", "other.csv", "cut.json"))
    before = sorted(tmp_path.rglob("*"))
    done, _, complaints = run("magnetic", "convert", *arguments)
    assert done == code
    [line] = complaints
    assert message in line
    assert sorted(tmp_path.rglob("*")) == before


def test_damaged_labels_are_one_line(tmp_path):
    path = tmp_path / "x.mcap"
    generated(path, "--duration", 3)
    for text in ("{", '{"events": 3}', '{"events": [{"metadata": {"mag_distortion": "7\\n"}}]}', "[" * 10_000):
        labels_path(path).write_text(text)
        code, _, complaints = run("info", path)
        assert code == 3
        [line] = complaints
        assert "x.labels.json" in line
        assert "correct it, or move it away" in line
