"""docs/magnetic-models.md: its commands, and that its figures are those of the commands it names."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

DOCUMENT = Path(__file__).parent.parent.parent / "docs" / "magnetic-models.md"


def commands() -> list[list[str]]:
    [block] = re.findall(r"^```sh\n(.*?)^```", DOCUMENT.read_text(), re.MULTILINE | re.DOTALL)
    lines = [shlex.split(line) for line in block.splitlines()]
    assert all(line[0] == "stinger" for line in lines)
    return [line[1:] for line in lines]


def rows(text: str, columns: int) -> list[list[str]]:
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("|")]
    return [line for line in lines if len(line) == columns and set(line) != {"---"}]


def accuracies(text: str) -> dict[tuple[str, str], float]:
    return {(row[0], row[1]): float(row[2].split()[0]) for row in rows(text, 9) if row[2].startswith("0.")}


def test_recordings_become_a_model_a_bundle_and_a_student(call):
    generate, explore, train, export, distil = commands()
    call(*generate)
    call(*explore)
    trained = call(*train, "--json").json
    assert trained["metrics"]["accuracy"] > 0.85
    call(*export)
    assert (call.cwd / "field_bundle" / "model.mlmd").exists()
    report = call(*distil, "--json").json
    assert report["accuracy"]["distilled"]["value"] > 0.8
    assert (call.cwd / "field_student").is_dir()


def test_the_features_are_worth_what_the_page_says(call):
    written = {row[0]: row[1:] for row in rows(DOCUMENT.read_text(), 6)}
    [command] = re.findall(r"`stinger (bench magnetic --features[^`]*)`", DOCUMENT.read_text())
    measured = {row[0]: row[1:] for row in rows(call(*command.split()).out, 6)}
    assert list(written) == list(measured)
    for name in list(written)[1:]:
        # Another processor may round a fit differently.
        assert [float(x) for x in written[name]] == pytest.approx([float(x) for x in measured[name]], abs=0.011), name


def test_the_page_says_that_compact_models_are_better_and_they_are(call):
    """The whole table takes minutes; a third of its recordings, fitted once, says the same."""
    page, against_a_transformer = DOCUMENT.read_text().split("\n## Against a transformer\n")
    [command] = re.findall(r"`stinger (magnetic compare[^`]*)`", page)
    written = accuracies(page)
    baseline = written["rf", "mean, std of strength"]
    assert baseline == pytest.approx(0.88, abs=0.02)
    assert max(written["mlp", "magnetic"], written["rf", "magnetic"]) >= 0.9
    measured = accuracies(call(*command.split(), "--recordings", 40, "--seeds", 1, "--no-board").out)
    assert measured.keys() == written.keys()
    in_its_windows = accuracies(against_a_transformer)
    assert in_its_windows["ast-tiny", ""] < in_its_windows["mlp", "magnetic"]
    for family in ("mlp", "rf", "hgb"):
        assert measured[family, "magnetic"] >= 0.9
        assert measured[family, "magnetic"] > measured["rf", "mean, std of strength"] + 0.03
