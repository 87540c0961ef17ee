"""Boosted trees at every level."""

from __future__ import annotations

import pytest
from all_levels import AllLevels, combinations

from stinger_export.forms import BOOSTED


@pytest.fixture(scope="module")
def levels(tmp_path_factory) -> AllLevels:
    return AllLevels(tmp_path_factory.mktemp("levels"))


@pytest.mark.parametrize(("family", "features", "classes"), combinations(BOOSTED))
def test_all_levels_agree(levels, family, features, classes):
    levels.agree(family, features, classes)
