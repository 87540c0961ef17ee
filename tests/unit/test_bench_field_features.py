"""`stinger bench magnetic --features`: each part of the features is there for something that it can be seen at."""

from __future__ import annotations

import json

from cli_in_process import run

from stinger.features.sets import feature_set
from stinger.workflow.bench_field_features import GROUPS, SITUATIONS, feature_worth, table

NINE = ("mx", "my", "mz", "ax", "ay", "az", "gx", "gy", "gz")


def test_every_part_is_worth_something_somewhere():
    rows = feature_worth(24)
    worth = {row["features"]: row["accuracy"] for row in rows}
    strength, vertical = worth["strength"], worth["strength, vertical"]
    assert vertical["within a level"] > strength["within a level"] + 0.03
    assert worth["... and dip, horizontal"]["the same, logreg"] > vertical["the same, logreg"] + 0.01
    assert worth["... and latest"]["across a change"] > vertical["across a change"] + 0.2
    assert worth["all"]["hard iron 0.1"] > worth["... and latest"]["hard iron 0.1"] + 0.01
    everything = worth["all"]
    assert everything["at any time"] > vertical["at any time"] + 0.02
    # The price of features that have nothing to say is small.
    assert everything["within a level"] > vertical["within a level"] - 0.02
    header, lines = table(rows)
    assert {len(line) for line in lines} == {len(header)}


def test_the_groups_are_what_they_are_called():
    names = feature_set("magnetic", NINE, 50).names
    chosen = {group: [names[i] for i in of_group] for group, of_group in GROUPS.items()}
    assert chosen["strength"] == ["mean_|m|", "std_|m|"]
    assert chosen["strength, vertical"][2:] == ["vertical", "size_vertical", "std_vertical"]
    assert chosen["... and latest"][5:] == ["latest_|m|", "latest_vertical"]
    assert chosen["... and dip, horizontal"][5:] == ["horizontal", "sine_of_dip"]
    assert all(name.startswith(("turning_", "mean_|g|")) for name in chosen["... and turning"][5:])
    assert chosen["all"] == list(names)


def test_the_verb_prints_it():
    code, out, _ = run("bench", "magnetic", "--features", "--recordings", 8, "--json")
    assert code == 0
    assert [row["features"] for row in json.loads(out)] == list(GROUPS)
    assert {name for row in json.loads(out) for name in row["accuracy"]} == set(SITUATIONS)
