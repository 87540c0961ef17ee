"""The generator's arithmetic against scipy's rotations and against plain loops, and what its imperfections do."""

import itertools
import math
from dataclasses import asdict, fields, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from stinger.errors import InputError, UsageError
from stinger.sessions.mcap_format.labels import LEVELS
from stinger.sessions.mcap_format.quantities import quantise
from stinger.synth.imperfections import PERFECT, Imperfections
from stinger.synth.magnetic import FACTORS, generate, segment_samples, streams
from stinger.synth.motion_plan import Calibration, MotionPlan, Segment
from stinger.synth.patterns import DISTORTIONS, PATTERNS, pattern_plan
from stinger.synth.quaternions import cumulative, into_frame, multiply

SENSORS = ("mag", "acc", "gyro")


def scipy_truth(plan, counts, spread):
    """Poses, fields and rates by rotation matrices and intrinsic ZYX angles: nothing of ours but the plan."""
    w, x, y, z = plan.rotation
    pose = Rotation.from_quat([x, y, z, w])
    dt = plan.step_ns / 1e9
    poses, mag, acc, gyro = [], [], [], []
    for segment, count, n in zip(plan.segments, counts, spread, strict=True):
        roll, pitch, yaw = (angle / n for angle in segment.rpy_degrees)
        step = Rotation.from_euler("ZYX", [yaw, pitch, roll], degrees=True)
        q = step.as_quat()
        # The same rotation has two quaternions; the half angles' cosines choose.
        half = [math.radians(angle) / 2 for angle in (roll, pitch, yaw)]
        real = math.prod(map(math.cos, half)) + math.prod(map(math.sin, half))
        q = q if q[3] * real >= 0 else -q
        factor = {"none": 0.0, "low": 0.2, "high": 1.0}[segment.level]
        field = np.array([0.0, 1.0, 0.0]) + factor * np.array(segment.world)
        for _ in range(count):
            pose = pose * step
            poses.append(pose.as_matrix())
            mag.append(pose.inv().apply(field))
            acc.append(pose.inv().apply([0.0, 0.0, 1.0]))
            gyro.append(2 * q[:3] / dt)
    return {"pose_truth": poses, "mag_truth": mag, "acc_truth": acc, "gyro_truth": gyro}


angles = st.floats(-720, 720)
units = (
    st.tuples(*[st.floats(-1, 1)] * 4)
    .filter(lambda q: math.hypot(*q) > 0.1)
    .map(lambda q: tuple(value / math.hypot(*q) for value in q))
)
segments = st.builds(
    Segment,
    name=st.just("s"),
    duration_s=st.floats(0.2, 1.5),
    rpy_degrees=st.tuples(angles, angles, angles),
    level=st.sampled_from(LEVELS),
    world=st.tuples(*[st.floats(-2, 2)] * 3),
)
plans = st.builds(
    MotionPlan,
    sample_rate_hz=st.sampled_from([13.0, 50.0, 100.0, 140.0]),
    segments=st.lists(segments, min_size=1, max_size=3).map(tuple),
    rotation=units,
    start_ns=st.integers(0, 1 << 60),
)


@settings(max_examples=60, deadline=None)
@given(plans, st.booleans())
def test_truth_is_what_scipy_says(plan, reference):
    counts, spread = segment_samples(plan, reference_timing=reference)
    recording = generate(plan, PERFECT, name="x", reference_timing=reference)
    expected = scipy_truth(plan, counts, spread)
    assert len(recording.session) == sum(counts)
    pose = Rotation.from_quat(np.roll(recording.topics["pose_truth"], -1, axis=1)).as_matrix()
    np.testing.assert_allclose(pose, expected["pose_truth"], atol=1e-12)
    for sensor in SENSORS:
        truth = recording.topics[f"{sensor}_truth"]
        scale = max(1.0, float(np.abs(truth).max()))
        np.testing.assert_allclose(truth, expected[f"{sensor}_truth"], atol=1e-12 * scale)
        np.testing.assert_array_equal(recording.topics[f"{sensor}_raw"], truth)
    np.testing.assert_array_equal(recording.topics["pose"], recording.topics["pose_truth"])


def test_ten_minutes_stay_exact():
    """Rounding errors must not grow with the length: 60,000 products, and the pose is still a rotation."""
    plan = pattern_plan("complex", "mixed", 600, 100, streams(3)[0])
    recording = generate(plan, PERFECT, name="x")
    counts, spread = segment_samples(plan)
    assert (len(recording.session), counts) == (60_000, spread)
    whole = Rotation.from_quat(np.roll(plan.rotation, -1))
    for segment in plan.segments:
        roll, pitch, yaw = (angle / round(segment.duration_s * 100) for angle in segment.rpy_degrees)
        turn = Rotation.from_euler("ZYX", [yaw, pitch, roll], degrees=True).as_rotvec()
        whole = whole * Rotation.from_rotvec(turn * round(segment.duration_s * 100))
    pose = recording.topics["pose_truth"]
    last = Rotation.from_quat(np.roll(pose[-1], -1))
    np.testing.assert_allclose(last.as_matrix(), whole.as_matrix(), atol=1e-12)
    np.testing.assert_allclose(np.linalg.norm(pose, axis=1), 1, atol=1e-13)


@given(units, st.lists(units, min_size=1, max_size=40))
def test_cumulative_products_are_those_of_a_loop(start, steps):
    expected, pose = [], np.array(start)
    for step in steps:
        pose = multiply(pose, np.array(step))
        expected.append(pose)
    np.testing.assert_allclose(cumulative(np.array(start), np.array(steps)), expected, atol=1e-13)


@given(units, st.tuples(*[st.floats(-2, 2)] * 3))
def test_a_vector_is_seen_as_the_product_says(pose, vector):
    q = np.array(pose)
    product = multiply(multiply(q * [1, -1, -1, -1], np.array([0.0, *vector])), q)
    np.testing.assert_allclose(into_frame(q[None], np.array(vector))[0], product[1:], atol=1e-14)
    assert abs(product[0]) < 1e-14


def one_segment(duration=1.0, rate=100.0, **changes):
    segment = Segment("s", duration, (90.0, 0.0, 0.0), "high", (0.0, 0.5, 0.0))
    return MotionPlan(rate, (segment,), **changes)


def test_segments_turn_as_far_as_they_say_and_the_reference_overshoots():
    """At 140 Hz a step is 7,142,857 ns: 140 steps are not quite a second, and the reference adds one."""
    plan = one_segment(rate=140.0)
    angles = {}
    for reference in (False, True):
        recording = generate(plan, PERFECT, name="x", reference_timing=reference)
        w, x, _, _ = recording.topics["pose_truth"][-1]
        angles[len(recording.session)] = math.degrees(2 * math.atan2(x, w))
        assert recording.times_ns.tolist() == [i * 7_142_857 for i in range(len(recording.session))]
    assert angles == {140: pytest.approx(90), 141: pytest.approx(90 * 141 / 140)}


@pytest.mark.parametrize(("duration", "samples"), [(0.29, 29), (0.57, 57), (1.005, 100), (0.019, 1), (1.0, 100)])
def test_a_duration_in_floating_point(duration, samples):
    counts, _ = segment_samples(one_segment(duration))
    assert counts == [samples]


def test_known_values():
    """A quarter turn about x in two steps: gravity comes from z onto y, the field from y onto -z."""
    plan = MotionPlan(2.0, (Segment("roll", 1.0, (90.0, 0.0, 0.0), "low", (0.0, 1.0, 0.0)),))
    topics = generate(plan, PERFECT, name="x").topics
    half = math.sqrt(0.5)
    np.testing.assert_allclose(topics["acc_truth"], [[0, half, half], [0, 1, 0]], atol=1e-15)
    np.testing.assert_allclose(topics["mag_truth"], [[0, 1.2 * half, -1.2 * half], [0, 0, -1.2]], atol=1e-15)
    np.testing.assert_allclose(topics["gyro_truth"], [[2 * math.sin(math.pi / 8) / 0.5, 0, 0]] * 2, atol=1e-15)
    np.testing.assert_allclose(topics["pose_truth"][1], [half, half, 0, 0], atol=1e-15)


def test_raw_is_the_inverse_of_the_calibration():
    calibration = Calibration((0.5, -0.25, 0.125), ((1.0, 0.2, 0.0), (0.0, 0.8, 0.0), (0.1, 0.0, 1.1)))
    recording = generate(one_segment(calibrations=dict.fromkeys(SENSORS, calibration)), PERFECT, name="x")
    for sensor in SENSORS:
        raw, truth = (recording.topics[f"{sensor}_{kind}"] for kind in ("raw", "truth"))
        np.testing.assert_allclose((raw - calibration.bias) @ np.array(calibration.matrix).T, truth, atol=1e-14)
        assert np.abs(raw - truth).max() > 0.1


def test_labels_are_the_segments():
    plan = pattern_plan("simple", "mixed", 30, 50, streams(1)[0])
    recording = generate(replace(plan, start_ns=10**15 + 1), PERFECT, name="x")
    session = recording.session
    assert [e.label for e in session.events] == [s.level for s in plan.segments]
    assert sorted(e.label for e in session.events) == sorted(LEVELS * 2)
    bounds = [e.start_us for e in session.events] + [session.events[-1].end_us]
    assert bounds[1:] == [e.end_us for e in session.events]
    assert [int(session.t_us[start]) for start in recording.starts] == bounds[:-1]
    assert bounds[-1] - int(session.t_us[-1]) == session.period_us == 20_000
    field = recording.topics["mag_truth"]
    for segment, a, b in zip(plan.segments, recording.starts, (*recording.starts[1:], len(session)), strict=True):
        expected = np.linalg.norm(np.array([0, 1, 0]) + FACTORS[segment.level] * np.array(segment.world))
        np.testing.assert_allclose(np.linalg.norm(field[a:b], axis=1), expected, atol=1e-12)
        assert (segment.level == "none") == (abs(expected - 1) < 1e-12)


def test_one_segment_labels_all_of_it():
    assert generate(one_segment(), PERFECT, name="x").session.label == "high"


def test_a_level_without_a_world_vector_is_reported():
    segment = Segment("s", 1.0, (0.0, 0.0, 0.0), "high")
    session = generate(MotionPlan(100.0, (segment, replace(segment, level="none"))), PERFECT, name="x").session
    (fault,) = session.faults
    assert fault.startswith("1 segments are labelled distorted and have no world vector")


def test_every_imperfection_matters_and_none_moves_the_others():
    plan = pattern_plan("complex", "mixed", 30, 100, streams(1)[0])
    perfect = generate(plan, PERFECT, name="x").topics
    touched = {}
    for field in fields(Imperfections):
        if field.name == "warming_k":
            continue
        levels = replace(PERFECT, warming_k=5.0, **{field.name: 0.01})
        topics = generate(plan, levels, name="x").topics
        for sensor in SENSORS:
            np.testing.assert_array_equal(topics[f"{sensor}_truth"], perfect[f"{sensor}_truth"])
        touched[field.name] = {s for s in SENSORS if np.abs(topics[f"{s}_raw"] - perfect[f"{s}_raw"]).max() > 1e-4}
    assert touched == {
        **{key: {"mag"} for key in ("mag_noise", "hard_iron", "soft_iron", "mag_drift")},
        **{key: {"acc"} for key in ("acc_noise", "acc_bias", "acc_drift")},
        **{key: {"gyro"} for key in ("gyro_noise", "gyro_bias", "gyro_drift")},
        "scale": {"acc", "gyro"},
    }


def test_imperfections_are_what_they_are_called():
    still = MotionPlan(100.0, (Segment("still", 60.0, (0.0, 0.0, 0.0)),))
    noise = generate(still, replace(PERFECT, mag_noise=0.02), name="x").topics["mag_raw"] - [0, 1, 0]
    assert noise.std(axis=0) == pytest.approx([0.02] * 3, rel=0.05)
    assert noise.mean(axis=0) == pytest.approx([0] * 3, abs=0.0015)
    assert abs(np.corrcoef(noise[1:, 0], noise[:-1, 0])[0, 1]) < 0.05

    iron = [generate(still, replace(PERFECT, hard_iron=0.1), name="x", seed=s).topics["mag_raw"] for s in range(40)]
    offsets = np.array([raw[0] - [0, 1, 0] for raw in iron])
    assert all(np.ptp(raw, axis=0).max() < 1e-7 for raw in iron)
    assert offsets.std() == pytest.approx(0.1, rel=0.2)

    drift = generate(still, replace(PERFECT, gyro_drift=0.01, warming_k=10.0), name="x").topics["gyro_raw"]
    slow = np.abs(np.diff(drift, axis=0)).max()
    assert np.abs(drift[-1]).max() > 100 * slow
    assert np.abs(drift[0]).max() < 1e-3


def test_the_pose_drifts_as_a_gyroscope_does():
    plan = one_segment(60.0)
    recording = generate(plan, Imperfections(), name="x")
    apart = np.abs((recording.topics["pose"] * recording.topics["pose_truth"]).sum(axis=1))
    degrees = np.degrees(2 * np.arccos(np.minimum(apart, 1)))
    assert degrees[:10].max() < 0.2
    assert 0.5 < degrees[-1] < 90
    calibrated = replace(plan, calibrations={"gyro": Calibration((0.4, 0.0, 0.0))})
    again = generate(calibrated, Imperfections(), name="x")
    np.testing.assert_array_equal(again.topics["pose"], recording.topics["pose"])


def test_counts_are_those_of_the_values():
    recording = generate(pattern_plan("complex", "high", 10, 100, streams(2)[0]), Imperfections(), name="x")
    values = np.hstack([recording.topics[f"{sensor}_raw"] for sensor in SENSORS])
    counts, faults = quantise(values, recording.session.channels)
    np.testing.assert_array_equal(recording.session.samples, counts)
    assert faults == ()
    assert [c.unit for c in recording.session.channels] == ["earth field"] * 3 + ["g"] * 3 + ["rad/s"] * 3
    assert recording.session.channels[0].scale == 1 / 8192


def test_a_turn_beyond_the_gyroscope_gets_a_coarser_scale():
    slow, fast = (MotionPlan(100.0, (Segment("spin", 1.0, (turn, 0.0, 0.0)),)) for turn in (1800.0, 7200.0))
    scales = [generate(plan, PERFECT, name="x").session.channels[6].scale for plan in (slow, fast)]
    assert scales[1] == 4 * scales[0]
    session = generate(fast, PERFECT, name="x").session
    assert session.samples[0, 6] * scales[1] == pytest.approx(2 * math.sin(math.radians(36)) / 0.01, rel=1e-4)


def test_values_that_nothing_holds_are_refused():
    huge = Calibration((0.0, 0.0, 0.0), ((1e-5, 0.0, 0.0), (0.0, 1e-5, 0.0), (0.0, 0.0, 1e-5)))
    with pytest.raises(InputError, match=r"x: mag_raw reaches 1\.5e\+05, at most 9999 can be recorded"):
        generate(one_segment(calibrations={"mag": huge}), PERFECT, name="x")
    with pytest.raises(InputError, match="a single sample"):
        generate(one_segment(0.01), PERFECT, name="x")


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("distortion", DISTORTIONS)
def test_ready_patterns(pattern, distortion):
    for seed, seconds in ((1, 60.0), (2, 1.0), (3, 7.7)):
        plan = pattern_plan(pattern, distortion, seconds, 100.0, streams(seed)[0])
        levels = [s.level for s in plan.segments]
        assert set(levels) == (set(LEVELS) if distortion == "mixed" else {distortion})
        if distortion == "mixed":
            assert len({levels.count(level) for level in LEVELS}) == 1
            assert all(a != b for a, b in itertools.pairwise(levels))
        turns = np.array([s.rpy_degrees for s in plan.segments])
        axes = {"simple": 1, "complex": 3, "stationary": 0}[pattern]
        assert set((turns != 0).sum(axis=1).tolist()) == {axes}
        worlds = [np.linalg.norm(s.world) for s in plan.segments if s.level != "none"]
        np.testing.assert_allclose(worlds, 1, atol=1e-12)
        recording = generate(plan, PERFECT, name="x")
        assert len(recording.session) == round(seconds * 100)
        assert np.abs(recording.topics["gyro_truth"]).max() < math.radians(120)


def test_a_seed_is_a_recording():
    def topics(seed, noise=1.0):
        plan = pattern_plan("complex", "mixed", 10, 100, streams(seed)[0])
        return generate(plan, Imperfections().scaled(noise), name="x", seed=seed).topics

    one, same, other, quiet = topics(1), topics(1), topics(2), topics(1, 0.0)
    for topic, values in one.items():
        np.testing.assert_array_equal(values, same[topic])
        assert (values != other[topic]).any()
    # The noise does not change the motion.
    np.testing.assert_array_equal(one["pose_truth"], quiet["pose_truth"])


def test_levels_that_cannot_be():
    assert Imperfections().scaled(0) == PERFECT
    assert PERFECT.perfect
    assert not Imperfections().perfect
    assert asdict(Imperfections().scaled(2))["hard_iron"] == 2 * Imperfections().hard_iron
    for bad in (-1, math.nan, 1e9):
        with pytest.raises(UsageError, match="--noise must be 0 to 100"):
            Imperfections().scaled(bad)
        with pytest.raises(UsageError, match="--mag-noise must be 0 to 100"):
            Imperfections(mag_noise=bad)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("spin", "mixed", 10, 100), "--pattern 'spin' is unknown; choose simple, complex, stationary"),
        (("simple", "medium", 10, 100), "--distortion 'medium' is unknown; choose none, low, high, mixed"),
        (("simple", "mixed", 10, 0), "--sample-rate must be 1 to 10,000 Hz"),
        (("simple", "mixed", 10, math.nan), "--sample-rate must be 1 to 10,000 Hz"),
        (("simple", "mixed", -1, 100), "--duration -1 s at 100 Hz is -100 samples; make 24 to 2,000,000"),
        (("simple", "mixed", math.nan, 100), "--duration nan s"),
        (("simple", "mixed", math.inf, 100), "--duration inf s"),
        (("simple", "mixed", 1e6, 100), "is 100,000,000 samples"),
    ],
)
def test_patterns_that_cannot_be(arguments, message):
    with pytest.raises(UsageError, match=message):
        pattern_plan(*arguments, np.random.default_rng(0))
