"""What no board can run is refused by name, before anything is made of it; the rest is tried in test_levels_*.py."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import cache

import pytest
from all_levels import combinations, on_board, refused
from small_models import CLASSES, taken, trained

from stinger.errors import InputError, UsageError
from stinger.features.sets import FEATURE_SETS, ON_DEVICE
from stinger.models.families import FAMILIES
from stinger.models.spec import TrainedModel
from stinger_export.emlearn_header import to_emlearn
from stinger_export.forms import BOOSTED, CONVOLUTIONS, FORESTS, NETWORKS
from stinger_export.integer.c_source import write_c_source
from stinger_export.integer.quantise import quantise
from stinger_export.targets import make_exports


def test_every_combination_is_tried_or_refused():
    files = (NETWORKS[:2], (*NETWORKS[2:], *CONVOLUTIONS), FORESTS, BOOSTED)
    tried = [one for families in files for one in combinations(families)]
    assert len({*tried, *refused()}) == len(tried) + len(refused()) == len(FAMILIES) * len(FEATURE_SETS) * len(CLASSES)
    # All that every family takes, so that a table gone wrong does not leave nothing to try.
    assert len(tried) >= 3 * len(CLASSES) * sum(one.features is None for one in FAMILIES.values()) >= 81


@cache
def claiming(family: str, features: str, classes: int) -> TrainedModel:
    """A model that says it is of this family: nobody looks further before refusing it."""
    model = trained("logreg", features, classes)
    return replace(model, spec=replace(model.spec, family=family))


@pytest.mark.parametrize(("family", "features", "classes"), refused())
def test_what_a_board_cannot_run_is_refused_by_name(family, features, classes):
    model = claiming(family, features, classes)
    for export in (quantise, to_emlearn):
        with pytest.raises(InputError) as caught:
            export(model)
        says_what_and_what_to_do(str(caught.value), family, features)


def says_what_and_what_to_do(message: str, family: str, features: str) -> None:
    assert "\n" not in message
    named = [family] if features in ON_DEVICE else [family, features]
    assert any(re.search(rf"(?<![\w-]){name}(?![\w-])", message) for name in named), message
    assert re.search(r"; (train|choose|export)\b", message), message


@pytest.mark.parametrize("features", [name for name in FEATURE_SETS if name not in ON_DEVICE])
def test_what_no_board_computes_still_has_an_onnx_form_and_the_others_a_reason(features):
    model = trained("logreg", features, 3)
    made = make_exports(model)
    assert made.targets == ("onnx",)
    assert f"the device does not compute {features} features" in made.not_exported["integer"]
    for target in ("integer", "emlearn"):
        says_what_and_what_to_do(made.not_exported[target], model.spec.family, features)
        with pytest.raises(UsageError, match=rf"has no {target} form: .*{features}"):
            make_exports(model, [target])


@pytest.mark.parametrize("features", FEATURE_SETS)
@pytest.mark.parametrize("family", [name for name in FAMILIES if FAMILIES[name].features is not None])
def test_a_family_is_not_trained_on_what_it_does_not_take(family, features):
    if taken(family, features):
        assert trained(family, features).spec.features == features
        return
    with pytest.raises(UsageError, match=f"{family} takes .* features, not {features}"):
        trained(family, features)


@pytest.mark.parametrize("features", [name for name in FEATURE_SETS if not on_board("logreg", name)])
def test_no_c_is_written_for_features_that_no_board_computes(features, tmp_path):
    integer = quantise(trained("logreg", "rich"))
    with pytest.raises(InputError, match=f"does not compute {features} features"):
        write_c_source(replace(integer, spec=replace(integer.spec, features=features)), tmp_path)
    assert list(tmp_path.iterdir()) == []
