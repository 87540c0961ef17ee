"""Every notebook, from top to bottom, in a kernel of its own; what it claims is asked of its variables."""

import resource

import pytest
from notebook_runs import NOTEBOOKS, execute

#: Seconds of processors that a notebook may take: what a machine does besides takes only time.
PATIENCE_S = 90


def busy() -> float:
    """Processor time of all processes that were started here and have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def in_checkout() -> dict[str, bytes]:
    """Every file beside the notebooks."""
    return {str(path): path.read_bytes() for path in NOTEBOOKS.rglob("*") if path.is_file()}


@pytest.fixture
def run(tmp_path):
    """Run a notebook, see that it was quick and left nothing where it should not."""
    before = in_checkout()

    def run_it(name, ask, first=""):
        start = busy()
        done = execute(name, ask, tmp_path, first=first)
        assert busy() - start < PATIENCE_S
        assert list(done.work.iterdir()) == []
        assert {path.split("/")[0].removesuffix("-debug") for path in done.files()} <= {name}
        for cell in done.notebook.cells:
            assert not [o for o in cell.get("outputs", []) if o.get("name") == "stderr"], f"{name}: {cell['id']}"
        for name_of, png in done.pictures().items():
            assert png.startswith(b"\x89PNG"), name_of
            (tmp_path / f"{name}-{name_of}.png").write_bytes(png)
        return done

    yield run_it
    assert in_checkout() == before


def test_dataset(run):
    ask = """{
        "samples": len(recording),
        "same": bool((recording.samples == FieldSettings(seed=1).generate().samples).all()),
        "complaints": [finding.what for finding in quality if not finding.fine],
        "spoiled": [finding.what for finding in spoiled_quality if not finding.fine],
        "settings": [control.value for control in explorer.controls.values()],
        "worth": {row["imperfections"]: row["accuracy"] for row in worth},
    }"""
    done = run("dataset", ask)
    results = done.results
    assert results["samples"] == 6000
    assert results["same"]
    assert results["complaints"] == []
    assert {"gaps", "rate jitter", "saturation", "field strength", "gravity"} <= set(results["spoiled"])
    # Sliders stand at what is shown, and what they show is in the notebook: two pictures.
    assert results["settings"] == ["mixed", "complex", 100.0, 1.0, 1]
    assert len(done.outputs("explore", "application/vnd.jupyter.widget-view+json")) == 1
    state = done.notebook.metadata["widgets"]["application/vnd.jupyter.widget-state+json"]["state"]
    assert sum(model["model_name"] == "ImageModel" and bool(model["buffers"]) for model in state.values()) == 2
    assert {"FloatSliderModel", "IntSliderModel", "SelectionSliderModel"} <= {m["model_name"] for m in state.values()}
    assert "| fine |" in done.outputs("quality", "text/markdown")[0]
    assert len(done.pictures()) == 2
    worth = results["worth"]
    assert worth["default"]["session"] > 0.8
    assert worth["off"]["random"] > worth["off"]["session"] + 0.02
    assert "dataset/field/complex-mixed-1.mcap" in done.files()


def test_blaster(run):
    ask = """{
        "shots": len(truth.shots_us),
        "held_out": summary["held_out_windows"],
        "average_precision": report.classes[1].figures["pr_auc"].value,
        "base": report.classes[1].base_rate,
        "failures": list(proof.failures),
        "levels": {comparison.name: comparison.windows for comparison in proof.comparisons},
        "cycles": cost.cycles_mean,
        "seen": [one.how for one in evaluation.recordings],
        "anticipated": evaluation.to_json()["total"]["stock"]["anticipated_share"],
    }"""
    done = run("blaster", ask)
    results = done.results
    assert results["shots"] > 20
    assert results["average_precision"] > 2 * results["base"]
    assert results["failures"] == []
    assert "Everything agrees." in done.printed("parity")
    # Every level answered every complete window of the eight seconds; a pause in them costs half a second.
    assert set(results["levels"]) == {"L0-L1", "L0-L2", "L2-L3", "L2-L4", "L0-emlearn"}
    assert set(results["levels"].values()) == {800 - 2 * 49}
    assert 5_000 < results["cycles"] < 35_000
    assert results["seen"] == ["by the model"]
    assert results["anticipated"] > 0.5
    assert len(done.pictures()) == 4
    assert {"blaster/bundle/manifest.json", "blaster/firmware/firmware.uf2"} <= set(done.files())


def test_classify(run):
    ask = """{
        "accuracy": {name: one.accuracy for name, one in answers.items()},
        "windows": sorted({len(one.labels) for one in answers.values()}),
        "recordings": sorted({len(one.results) for one in answers.values()}),
        "one": [result.accuracy, result.labelled, len(result)],
        "steps": transformer.content["steps"],
        "weights": transformer.content["parameters"],
    }"""
    done = run("classify", ask)
    results = done.results
    accuracy = results["accuracy"]
    assert set(accuracy) == {"rf on rich", "hgb on magnetic", "AST, tiny"}
    # What the text says: whoever asks the right questions is right; the large model is on its way.
    assert accuracy["hgb on magnetic"] > 0.93
    assert accuracy["hgb on magnetic"] > accuracy["rf on rich"] + 0.03 > 0.7
    assert 0.36 < accuracy["AST, tiny"] < accuracy["hgb on magnetic"]
    # All have answered the same windows of the same recordings.
    assert len(results["windows"]) == 1
    assert results["recordings"] == [6]
    assert results["one"][1] < results["one"][2]
    assert f"{results['one'][0]:.1%} of {results['one'][1]} windows right" in done.printed("timeline")
    assert results["steps"] == 60
    assert 150_000 < results["weights"] < 190_000
    assert set(done.pictures()) == {"walk-0", "timeline-0", "ast-timeline-0", "confusion-0"}
    assert "| hgb" in done.outputs("compare", "text/markdown")[0]


def test_fine_tune(run):
    ask = """{
        "debug": DEBUG_MODE,
        "metrics": trained.metrics,
        "windows": trained.content["windows"],
        "steps": trained.content["steps"],
        "same": bool((loaded.predict_proba_inputs(x) == trained.model.predict_proba_inputs(x)).all()),
        "answered": len(answers.labels),
    }"""
    first = "import numpy as np\nx = np.zeros((1, *loaded.spec.spectrogram.shape), np.float32)"
    done = run("fine_tune", ask, first=first)
    results = done.results
    assert results["debug"]
    assert results["steps"] == 10
    assert results["windows"] == {"training": 12, "validation": 12, "held-out": 12}
    assert 0 <= results["metrics"]["accuracy"] <= 1
    assert f"macro_f1         {results['metrics']['macro_f1']:.3f}" in done.printed("metrics")
    assert results["same"]
    assert results["answered"] > 50
    # A trial run leaves the folder of a real one alone.
    assert {path.split("/")[0] for path in done.files()} == {"fine_tune-debug"}
    assert [path for path in done.files() if path.endswith(".model.tar.gz")] != []
    assert "fine_tune-debug/ast/model/model.safetensors" in done.files()
    assert "Debug mode: a tiny model, from random weights." in done.printed("settings")
    assert done.printed("upload") == "not uploaded\n"
    assert set(done.pictures()) == {"history-0", "metrics-0", "new-0", "answers-0"}
