"""`stinger devices` on a fake board."""

import json

import pytest
from link_fake_board import FakeBoard, Faults

from stinger.cli.devices import devices
from stinger.link import ports


@pytest.mark.parametrize(("mute", "model"), [(False, "toy (0123456789abcdef)"), (True, "no answer to MLHELLO")])
def test_boards_are_listed_with_what_they_run(mute, model, monkeypatch, capsys):
    with FakeBoard(Faults(mute=mute)) as board:
        monkeypatch.setattr(ports, "list_boards", lambda: [ports.Port(board.port, "a fake", virtual=True)])
        devices(json=True)
        found = json.loads(capsys.readouterr().out)
        assert len(found) == 1
        assert found[0]["port"] == board.port
        assert found[0]["model"].startswith(model)
        devices(json=False)
        assert model in capsys.readouterr().out


def test_none(monkeypatch, capsys):
    monkeypatch.setattr(ports, "list_boards", list)
    devices(json=False)
    assert capsys.readouterr().out.startswith("no board found")
