"""The stretch of a recording that is replayed where the whole of it would take too long."""

from dataclasses import replace

import numpy as np
import pytest

from stinger.errors import InputError
from stinger.synth.shots import make_session
from stinger.windows.cut import cut
from stinger.windows.replay import excerpt


@pytest.fixture(scope="module")
def session():
    return make_session(1, 4.0)[0]


@pytest.fixture(scope="module")
def dataset(session):
    return cut([session], seed=1)


def test_it_is_a_stretch_around_a_held_out_shot(session, dataset):
    stream = excerpt(dataset, [session], 500)
    assert len(stream) == 500
    start = int(np.searchsorted(session.t_us, stream.t_us[0]))
    np.testing.assert_array_equal(stream.samples, session.samples[start : start + 500])
    inside = (dataset.start >= start) & (dataset.start + dataset.window <= start + 500)
    assert (dataset.labels[inside & dataset.held_out] == 1).any()


def test_a_short_recording_is_taken_whole(session, dataset):
    stream = excerpt(dataset, [session], 10 * len(session))
    np.testing.assert_array_equal(stream.t_us, session.t_us)


def test_nothing_held_out_is_refused(session, dataset):
    with pytest.raises(InputError, match="holds out no windows"):
        excerpt(replace(dataset, held_out=np.zeros(len(dataset), bool)), [session], 500)
