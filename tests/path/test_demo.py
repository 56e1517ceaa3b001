"""The demo: the verbs it calls, what it says, and the whole path once the model is there."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from oncoseg import demo, phantom

MODEL = Path(phantom.__file__).parents[1] / "models" / "glioma.onco"
SMALL = {"shape": (32, 38, 30), "spacing": (5.0, 5.0, 5.0)}


@pytest.fixture
def verbs(monkeypatch):
    calls = []

    def predict(model, scans, *, to):
        calls.append(("predict", model, scans, to))
        return SimpleNamespace(done=["phantom_0007"], failed=[])

    def evaluate(prediction, truth):
        calls.append(("evaluate", prediction, truth))
        return SimpleNamespace(table=lambda: "WT 0.9", write=lambda folder: folder)

    def report(prediction, *, to):
        calls.append(("report", prediction, to))
        return [to / "phantom_0007.json", to / "phantom_0007.html"]

    small = phantom.patient
    monkeypatch.setattr(demo.phantom, "patient", lambda seed: small(seed, **SMALL))
    for verb in (predict, evaluate, report):
        monkeypatch.setattr(demo, verb.__name__, verb)
    return calls


def test_demo_goes_the_whole_path_and_says_so(verbs, tmp_path):
    said = []
    page = demo.demo(tmp_path, say=said.append)
    scans, prediction = tmp_path / "scans", tmp_path / "prediction"
    assert page == tmp_path / "report" / "phantom_0007.html"
    assert verbs == [
        ("predict", "glioma", scans, prediction),
        ("evaluate", prediction, scans),
        ("report", prediction, tmp_path / "report"),
    ]
    assert (scans / "phantom_0007" / "phantom_0007_flair.nii.gz").exists()
    assert (scans / "phantom_0007" / "phantom_0007_seg.nii.gz").exists()
    assert "WT 0.9" in said
    assert str(page) in said[-1]


def test_a_failed_prediction_stops_the_demo_with_its_cause(verbs, tmp_path, monkeypatch):
    from oncoseg.errors import BadRun

    failed = SimpleNamespace(done=[], failed=["no memory"])
    monkeypatch.setattr(demo, "predict", lambda *_, **__: failed)
    with pytest.raises(BadRun, match="no memory"):
        demo.demo(tmp_path)
    assert verbs == []


@pytest.mark.skipif(not MODEL.exists(), reason="no shipped glioma model at oncoseg/models")
def test_the_shipped_model_finds_the_synthetic_tumour(tmp_path):
    from oncoseg.read import read_volume

    page = demo.demo(tmp_path)
    assert page.stat().st_size > 1000
    truth = read_volume(tmp_path / "scans" / "phantom_0007" / "phantom_0007_seg.nii.gz").array > 0
    found = read_volume(tmp_path / "prediction" / "phantom_0007.nii.gz").array > 0
    dice = 2 * np.logical_and(found, truth).sum() / (found.sum() + truth.sum())
    assert dice > 0.6
