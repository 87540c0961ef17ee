"""What notebooks need beside the library: Colab's secrets, folders, clean files, sliders."""

import importlib.util
import json
import subprocess
import sys
import types

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stinger.errors import InputError, UsageError
from stinger.notebook import colab
from stinger.notebook.explorer import FieldExplorer, FieldSettings
from stinger.notebook.folders import work_folder
from stinger.notebook.strip import main, strip

SHORT = FieldSettings(duration_s=15.0)
HUSH = "hf_hush"


class SecretNotFoundError(Exception):
    pass


class NotebookAccessError(Exception):
    pass


class TimeoutException(Exception):  # noqa: N818  # Colab's own name
    pass


@pytest.fixture
def secrets(monkeypatch):
    """Colab, with an empty safe."""
    kept: dict[str, object] = {}

    def get(name):
        value = kept.get(name, SecretNotFoundError(name))
        if isinstance(value, Exception):
            raise value
        return value

    userdata = types.ModuleType("google.colab.userdata")
    vars(userdata).update(
        get=get,
        SecretNotFoundError=SecretNotFoundError,
        NotebookAccessError=NotebookAccessError,
        TimeoutException=TimeoutException,
    )
    monkeypatch.setitem(sys.modules, "google", types.ModuleType("google"))
    monkeypatch.setitem(sys.modules, "google.colab", types.ModuleType("google.colab"))
    monkeypatch.setitem(sys.modules, "google.colab.userdata", userdata)
    for name in colab.SECRETS:
        monkeypatch.setenv(name, "")
    return kept


def test_colab_gives_its_secrets(secrets, monkeypatch, capsys):
    secrets["HF_TOKEN"] = HUSH
    assert colab.in_colab()
    assert colab.take_secrets() == ["HF_TOKEN"]
    assert colab.os.environ["HF_TOKEN"] == HUSH
    assert colab.os.environ["NSTRUMENTA_API_KEY"] == ""
    monkeypatch.setenv("NSTRUMENTA_API_KEY", "mine")
    secrets["NSTRUMENTA_API_KEY"] = "Colab's"
    assert colab.take_secrets() == list(colab.SECRETS)
    assert colab.os.environ["NSTRUMENTA_API_KEY"] == "mine"
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("refusal", [NotebookAccessError(), TimeoutException(), ""])
def test_colab_may_refuse(secrets, refusal):
    secrets["HF_TOKEN"] = refusal
    assert colab.take_secrets() == []


def run_first_cell(monkeypatch) -> list[list[str]]:
    """What the first cell starts."""
    started = []
    monkeypatch.setattr(subprocess, "run", lambda command, **_: started.append(command))
    exec(compile(colab.first_cell("classify"), "first cell", "exec"), {})  # noqa: S102  # it is ours
    return started


def test_the_first_cell_installs_in_colab_only(monkeypatch):
    assert run_first_cell(monkeypatch) == []
    assert not colab.in_colab()
    assert colab.take_secrets() == [name for name in colab.SECRETS if colab.os.environ.get(name)]


def test_the_first_cell_in_colab(secrets, monkeypatch):
    secrets["HF_TOKEN"] = HUSH
    wanted = [sys.executable, "-m", "pip", "install", "--quiet", "stinger-ml[ast]"]
    assert run_first_cell(monkeypatch) == [wanted]
    assert colab.os.environ["HF_TOKEN"] == HUSH


def test_folders_are_in_the_home(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert work_folder("classify") == tmp_path / "stinger-notebooks" / "classify"
    assert work_folder("fine_tune", debug=True).name == "fine_tune-debug"
    assert work_folder("classify").is_dir()
    with pytest.raises(UsageError, match="no name of a notebook"):
        work_folder("../elsewhere")


DIRTY = {
    "cells": [
        {"cell_type": "markdown", "metadata": {"collapsed": True}, "source": "# Title\n"},
        {
            "cell_type": "code",
            "id": "own-id",
            "execution_count": 7,
            "metadata": {"scrolled": True},
            "outputs": [{"output_type": "stream", "name": "stdout", "text": "secret"}],
            "source": ["x = 1\n", "y = 2\n"],
        },
    ],
    "metadata": {"kernelspec": {"name": "my-env"}, "widgets": {}},
    "nbformat": 4,
    "nbformat_minor": 4,
}


def test_strip_leaves_the_sources_and_nothing_else(tmp_path, capsys):
    path = tmp_path / "x.ipynb"
    path.write_text(json.dumps(DIRTY))
    assert main([str(path)]) == 0
    assert "stripped" in capsys.readouterr().err
    clean = json.loads(path.read_text())
    assert "secret" not in path.read_text()
    assert clean["metadata"]["kernelspec"]["name"] == "python3"
    assert clean["cells"] == [
        {"cell_type": "markdown", "id": "cell-1", "metadata": {}, "source": ["# Title"]},
        {
            "cell_type": "code",
            "execution_count": None,
            "id": "own-id",
            "metadata": {},
            "outputs": [],
            "source": ["x = 1\n", "y = 2"],
        },
    ]
    assert main([str(path)]) == 0
    assert capsys.readouterr().err == ""


@settings(max_examples=40)
@given(st.lists(st.tuples(st.sampled_from(["code", "markdown"]), st.text()), max_size=4), st.text(max_size=5))
def test_stripping_twice_is_stripping_once(cells, ident):
    made = [{"cell_type": kind, "source": source, "id": ident} for kind, source in cells]
    once = strip(json.dumps({"cells": made, "nbformat": 4}), "x")
    assert strip(once, "x") == once


@given(st.one_of(st.text(), st.recursive(st.none() | st.integers() | st.text(), st.lists).map(json.dumps)))
def test_what_is_no_notebook_is_refused(text):
    with pytest.raises(InputError, match="x "):
        strip(text, "x")


@pytest.mark.parametrize("cell", [None, 3, {"cell_type": "raw", "source": ""}, {"cell_type": "code", "source": [1]}])
def test_odd_cells_are_refused(cell, tmp_path, capsys):
    path = tmp_path / "x.ipynb"
    path.write_text(json.dumps({"cells": [cell], "nbformat": 4}))
    assert main([str(path)]) == 3
    assert "stinger: x.ipynb: cell 1 is neither code nor text" in capsys.readouterr().err


def test_sliders_make_another_recording():
    explorer = FieldExplorer(SHORT)
    assert explorer.widget() is explorer.widget()
    views = explorer.widget().children[2:]
    before = [view.value for view in views]
    explorer.controls["noise"].value = 10.0
    assert explorer.settings.noise == 10.0
    assert "noise × 10" in explorer.session.name
    assert all(new.value != old for new, old in zip(views[1:], before[1:], strict=True))
    explorer.change(level="high", rate_hz=50.0, pattern="stationary", noise=0.0)
    assert [control.value for control in explorer.controls.values()] == ["high", "stationary", 50.0, 0.0, 1]
    assert {event.label for event in explorer.session.events} == {"high"}
    assert explorer.session.period_us == 20_000
    # What is wrong with the recording is said above the pictures.
    assert "repeated samples" in views[0].value


def test_a_setting_that_cannot_be_changes_nothing():
    explorer = FieldExplorer(SHORT)
    session = explorer.session
    with pytest.raises(UsageError, match="no setting 'levle'; there are level, pattern"):
        explorer.change(levle="high")
    with pytest.raises(UsageError, match="--noise must be"):
        explorer.change(noise=-1.0)
    assert explorer.session is session
    assert explorer.settings == SHORT


def test_a_slider_that_asks_for_the_impossible_says_so():
    explorer = FieldExplorer(FieldSettings(duration_s=1.0, rate_hz=50.0))
    complaint, _, sound = explorer.widget().children[2:]
    assert "no stretch without a gap as long as a window of 3 s" in complaint.value
    assert sound.value == b""
    explorer.controls["noise"].max = 1000.0
    explorer.controls["noise"].value = 500.0
    assert "--noise must be 0 to 100" in complaint.value


def test_without_widgets_the_pictures_are_shown(monkeypatch):
    shown = []
    display = importlib.import_module("IPython.display")
    monkeypatch.setattr(display, "display", lambda *objects: shown.extend(objects))
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "ipywidgets" else find_spec(name))
    FieldExplorer(SHORT)._ipython_display_()
    assert [type(one).__name__ for one in shown] == ["Image", "Image", "Markdown"]


def test_sliders_without_widgets_say_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "ipywidgets", None)
    with pytest.raises(UsageError, match=r"pip install \"stinger-ml\[notebooks\]\""):
        FieldExplorer(SHORT).widget()
