"""Post-hoc steps are fitted by train, kept in the model, act in predict, show in the report."""

import json
import weakref
from dataclasses import replace

import numpy as np
import pytest

from oncoseg import registry, results
from oncoseg.errors import BadRun
from oncoseg.model import open_model
from oncoseg.predict import predict
from oncoseg.predict.soften import ordered, teach
from oncoseg.read import read_volume
from oncoseg.report import report
from oncoseg.train import train
from runs import toy_data, toy_run

STEPS = ("largest_component", "temperature", "conformal:level=0.6")


def test_from_training_to_the_report(tmp_path):
    task, _ = toy_data(tmp_path / "data", 2, 6, dims=3, size=16)
    run = toy_run(
        tmp_path, task, augmentations=(), folds=2, steps=20, rate=1e-2, average=0.5, posthoc=STEPS
    )
    model = open_model(train(run))
    cleaned, heat, bounds = model.posthoc.values()
    assert cleaned.state == {}
    assert heat.state["temperature"] > 0
    assert bounds.state["cases"] == 3
    out = tmp_path / "out"
    assert not predict(model.path, tmp_path / "data", to=out, probabilities=True).failed
    for path in results.find(out).values():
        prediction, record = results.load(path)
        assert set(prediction.intervals) == set(task.regions)
        assert record["level"] == 0.6
        assert any("in 60% of cases" in note for note in prediction.notes)
        for name, mask in prediction.masks.items():
            low, high = prediction.intervals[name]
            assert low <= mask.sum() * prediction.grid.voxel_volume / 1000 <= high
            said = read_volume(out / f"{prediction.case}.probability.{name}.nii.gz").array
            assert np.isfinite(said).all()
    pages = report(out)
    assert "60%)" in pages[0].read_text(encoding="utf-8")
    plain = json.loads((out / f"{pages[0].stem}.report.json").read_text(encoding="utf-8"))
    assert {"low", "high", "level"} <= plain["findings"]["volumes"]["rows"][0].keys()


def test_a_training_teaches_what_its_held_out_cases_can(tmp_path):
    task, _ = toy_data(tmp_path / "data", 2, 6, dims=2, size=16)

    def steps(name, **changes):
        run = toy_run(tmp_path, task, to=str(tmp_path / f"{name}.onco"), steps=2, **changes)
        return open_model(train(run)).posthoc

    found = steps("a", folds=2)
    assert list(found) == ["temperature", "predicted_dice", "conformal"]
    assert [step.state["cases"] for step in found.values()] == [3, 3, 3]
    assert not steps("b", folds=2, posthoc=("none",))
    assert not steps("c")


def test_the_model_of_all_cases_learns_from_what_the_folds_made_of_them(tmp_path):
    task, _ = toy_data(tmp_path / "data", 2, 6, dims=2, size=16)
    posthoc = ("conformal:level=0.7", "temperature")
    run = toy_run(tmp_path, task, folds=3, fold=-1, steps=2, posthoc=posthoc)
    found = open_model(train(run))
    assert list(found.posthoc) == ["temperature", "conformal:level=0.7"]
    assert found.card["posthoc"] == "temperature, conformal"
    states = [step.state for step in found.posthoc.values()]
    assert [state["cases"] for state in states] == [6, 6]
    folds = [open_model(run.folder / "folds" / f"fold_{fold}.onco") for fold in range(3)]
    heats = [fold.posthoc["temperature"].state for fold in folds]
    assert [heat["cases"] for heat in heats] == [2, 2, 2]
    each = [heat["temperature"] for heat in heats]
    assert min(each) <= states[0]["temperature"] <= max(each)
    few = [fold.posthoc[posthoc[0]].state for fold in folds]
    assert not any(state["quantiles"] for state in few)  # of two cases each
    assert (
        states[1]["models"] == 3
    )  # so that six cases are the fewest, which bound it by the largest
    assert states[1]["quantiles"].keys() == task.regions.keys()
    again = train(run, resume=True)
    assert [step.state for step in open_model(again).posthoc.values()] == states


def test_cases_that_were_drawn_in_part_teach_nothing(tmp_path):
    task, _ = toy_data(tmp_path / "data", 2, 4, dims=2, size=16)
    names = [path.name for path in (tmp_path / "data").iterdir() if path.is_dir()]
    rows = "".join(f"{name}\tc1\n" for name in names)
    (tmp_path / "data" / "cases.tsv").write_text(f"case\tannotated\n{rows}", encoding="utf-8")
    run = toy_run(tmp_path, task, folds=2, steps=2)
    assert not open_model(train(run)).posthoc
    asked = replace(run, to=str(tmp_path / "asked.onco"), posthoc=("temperature",))
    with pytest.raises(BadRun, match="held-out cases that were searched for all"):
        train(asked)


def test_hardly_a_prediction_is_in_memory_while_steps_learn():
    """And all are predicted anew only for a step that changes what the next ones see."""
    steps = [registry.build("posthoc", text) for text in ordered(["conformal", *STEPS[:2]])]
    asked, alive = [], []

    class Held(np.ndarray):
        pass

    def predicted(done):
        asked.append(list(done))
        for _ in range(9):
            made = Held((2,))
            alive.append(weakref.ref(made))
            assert sum(one() is not None for one in alive) <= 2
            yield made, made

    for step in steps:
        step.lesson = lambda prediction, truth: {"size": prediction.size}
        step.fit = lambda lessons: None
    lessons = teach(steps, predicted)
    names = [type(step).__name__ for step in steps]
    assert names == ["LargestComponent", "Temperature", "Conformal"]
    assert [len(one) for one in lessons] == [0, 9, 9]
    assert asked == [steps[:1], steps[:2]]
