"""What fine-tuning in a notebook can start from, and the picture of how it went."""

import pytest

from stinger.errors import InputError, UsageError
from stinger.models.ast import libraries
from stinger.notebook import transformer
from stinger.plots.history import plot_history
from stinger.workflow.fine_tune import FineTuneOptions


def test_the_extra_may_be_missing(monkeypatch):
    assert transformer.ast_is_installed()

    def missing() -> None:
        raise UsageError("install it")

    monkeypatch.setattr(transformer, "require_training", missing)
    assert not transformer.ast_is_installed()
    assert libraries.require_training is not missing


def test_debug_mode_asks_nobody(monkeypatch):
    monkeypatch.setattr(transformer, "fetch", lambda name: pytest.fail(f"fetched {name}"))
    start, why = transformer.starting_point(debug=True)
    assert start == {"from_scratch": "tiny"}
    assert why.startswith("Debug mode")
    assert FineTuneOptions([], debug=True, **start).schedule.steps == 10


def test_published_weights_where_the_hub_answers(monkeypatch):
    asked = []
    monkeypatch.setattr(transformer, "fetch", asked.append)
    start, why = transformer.starting_point(debug=False)
    assert start == {"pretrained": "MIT/ast-finetuned-audioset-10-10-0.4593"}
    assert asked == [start["pretrained"]]
    assert start["pretrained"] in why
    assert FineTuneOptions([], **start).start == start["pretrained"]


def test_a_hub_out_of_reach_is_said_in_plain_words(monkeypatch):
    def unreachable(name):
        raise InputError(f"cannot fetch {name} from the HuggingFace hub (no network); give a local folder")

    monkeypatch.setattr(transformer, "fetch", unreachable)
    start, why = transformer.starting_point(debug=False, name="some/model")
    assert start == {"from_scratch": "tiny"}
    assert "cannot fetch some/model from the HuggingFace hub (no network)" in why
    assert "trains a tiny model from random weights instead" in why
    assert FineTuneOptions([], **start).schedule.steps == 1500


ROWS = [
    {"step": 5, "training_loss": 1.2},
    {"step": 5, "validation_loss": 1.3, "validation_accuracy": 0.4},
    {"step": 10, "training_loss": 0.9, "validation_loss": 1.0, "validation_accuracy": 0.6},
]


def test_the_history_is_drawn(tmp_path):
    plot_history(ROWS, 10, tmp_path / "a.png", classes=3)
    plot_history(ROWS, 10, tmp_path / "b.png", classes=3)
    plot_history(ROWS[:2], 5, tmp_path / "c.png", classes=3)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert (tmp_path / "c.png").read_bytes() != (tmp_path / "a.png").read_bytes()
    with pytest.raises(UsageError, match="nothing to draw"):
        plot_history([], 0, tmp_path / "d.png", classes=3)
