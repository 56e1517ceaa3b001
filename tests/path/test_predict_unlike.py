"""A scan that is unlike the training is told apart: in the prediction, its record, its report."""

import json
from dataclasses import replace

import numpy as np
import pytest

from oncoseg import Predictor, phantom, results
from oncoseg.__main__ import call
from oncoseg.model import open_model
from oncoseg.predict import predict
from oncoseg.report import report
from oncoseg.train import train
from runs import toy_data, toy_run

CASES = 24


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("unlike")
    task, cases = toy_data(folder / "data", 5, CASES, dims=2, size=48, missing=0.0)
    return train(toy_run(folder, task, steps=3, folds=1, name="toy")), cases


def changed(case, change):
    images = {
        name: replace(image, array=change(image.array.astype(np.float32)))
        for name, image in case.images.items()
    }
    return replace(case, images=images)


def test_a_model_knows_how_the_scans_of_its_training_look(trained):
    model = open_model(trained[0])
    seen = json.loads(model.members["appearance.json"])["cases"]
    assert len(seen) == CASES
    assert {name for one in seen for name in one} == set(model.task.modalities)
    assert len(model.members["appearance.json"]) < 1 << 16


def test_one_unlike_them_says_so_everywhere(trained, tmp_path):
    model, cases = trained
    predictor = Predictor(model, engine="torch")
    rng = np.random.default_rng(0)
    known = predictor(cases[0])
    assert known.unlikeness["cases"] == CASES
    assert not known.unlikeness["odd"]
    noisy = changed(cases[0], lambda image: rng.normal(0, 1, image.shape).astype(np.float32))
    found = predictor(noisy)
    assert found.unlikeness["odd"]
    assert "sharpness or noise" in found.unlikeness["aspects"]
    (said,) = [note for note in found.notes if note.startswith("This scan is unlike those")]
    record = predictor.save(found, tmp_path)
    again, raw = results.load(record)
    assert again.unlikeness == found.unlikeness == raw["unlikeness"]
    assert said in again.notes
    report(tmp_path)
    (path,) = tmp_path.glob("*.report.json")
    text = path.read_text(encoding="utf-8")
    assert f"of {CASES} training scans, less unlike the rest" in text
    assert text.count(said) == 1


def test_of_a_model_that_does_not_know_them_that_is_said(trained):
    model, cases = trained
    predictor = Predictor(model, engine="torch")
    few = {name: cases[0].images[name] for name in list(cases[0].images)[:1]}
    assert predictor(replace(cases[0], images=few)).unlikeness["cases"] == CASES
    predictor.opened.members.sizes.pop("appearance.json")
    predictor.opened.members.kept.pop("appearance.json")
    assert predictor(cases[0]).unlikeness == {}


@pytest.fixture(scope="module")
def folder(trained, tmp_path_factory):
    """Two scans, one of which is nothing but its own voxels shuffled."""
    _, cases = trained
    folder = tmp_path_factory.mktemp("unlike") / "scans"
    noisy = changed(cases[0], lambda image: np.random.default_rng(0).permutation(image))
    for case in (replace(noisy, id="odd"), replace(cases[1], id="known")):
        phantom.write(case, folder, layout="folders")
    return folder


def test_whoever_predicts_a_folder_is_told(trained, folder, tmp_path, capsys):
    words = [str(trained[0]), str(folder), "--to", str(tmp_path), "--engine", "torch"]
    assert call(["predict", *words]) == 0
    (line,) = [one for one in capsys.readouterr().err.splitlines() if "unlike" in one]
    assert "case odd: This scan is unlike those the model learned from" in line


def test_a_cluster_tells_the_same(trained, folder, tmp_path, two_workers):
    here, there = (
        predict(trained[0], folder, to=tmp_path / f"out{name}", engine="torch", cluster=name)
        for name in ("", "auto")
    )
    assert there.unlike == here.unlike
    assert set(here.unlike) == {"odd"}
