"""Steps are taught on cases the model never saw, and the model file keeps all else."""

import json
from dataclasses import replace

import numpy as np
import pytest

import oncoseg
from oncoseg import results
from oncoseg.__main__ import call
from oncoseg.errors import BadData, BadRun
from oncoseg.evaluate import evaluate
from oncoseg.model import open_model
from oncoseg.predict import predict
from oncoseg.run import Run
from oncoseg.train import train
from runs import toy_data


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A labelled data set of eight patients, and a model that was trained on half of them."""
    folder = tmp_path_factory.mktemp("fit é")
    toy_data(folder / "data", 0, 8, size=16, layout="brats")
    run = Run(
        data=str(folder / "data"),
        to=str(folder / "toy.onco"),
        network="unet:width=4,blocks=1",
        minutes=0,
        steps=3,
        folds=2,
        device="cpu",
        precision="f32",
        posthoc=("none",),
    )
    train(run)
    return folder


def held(path):
    return json.loads(path.with_suffix(".run").joinpath("held_out.json").read_text())


def test_it_learns_from_what_was_held_out_alone_and_holds_a_part_out_itself(world):
    fitted = oncoseg.fit(
        world / "toy.onco",
        ["temperature", "conformal:level=0.5"],
        data=world / "data",
        folds=2,
        to=world / "calm.onco",
    )
    unseen = set(held(world / "toy.onco"))
    assert set(fitted.cases) | set(fitted.held) == unseen
    assert len(fitted.cases) == len(fitted.held) == 2
    assert tuple(held(fitted.model)) == fitted.held
    before, after = open_model(world / "toy.onco"), open_model(fitted.model)
    names = {"posthoc.json", "card.json"}
    assert {k: v for k, v in after.members.items() if k not in names} == {
        k: v for k, v in before.members.items() if k not in names
    }
    assert list(after.posthoc) == ["temperature", "conformal:level=0.5"]
    assert after.posthoc["temperature"].state == fitted.learned["temperature"]
    assert after.card["posthoc"] == "temperature, conformal"


def test_it_is_put_to_use_by_predict_on_the_cases_that_are_named(world):
    oncoseg.fit(world / "toy.onco", ["temperature"], data=world / "data", folds=2,
                to=world / "hot.onco")  # fmt: skip
    names = held(world / "hot.onco")
    folders = world / "before", world / "after"
    for model, to in zip(("toy.onco", "hot.onco"), folders):
        done = predict(world / model, world / "data", to=to, probabilities=True, cases=names)
        assert len(done.done) == len(names) == 2
    values = [evaluate(to, world / "data", metrics=("nll", "dice"), cases=names) for to in folders]
    regions = {row.region for row in values[0].rows}
    total = [sum(one.mean(region, "nll") for region in regions) for one in values]
    assert total[1] < total[0]  # three steps leave a network that is far from calibrated
    assert all(row.status == "ok" for one in values for row in one.rows)
    with pytest.raises(BadData, match="no case 'nobody'"):
        predict(world / "toy.onco", world / "data", to=folders[0], cases=("nobody",))


def test_what_was_learned_from_is_refused(world):
    seen = sorted(
        {path.name for path in (world / "data").iterdir() if path.is_dir()}
        - set(held(world / "toy.onco"))
    )
    fit = {"data": world / "data", "to": world / "x.onco"}
    with pytest.raises(BadRun, match=f"learned from case {seen[0]} already"):
        oncoseg.fit(world / "toy.onco", ["temperature"], cases=seen[:2], **fit)
    whole = oncoseg.fit(world / "toy.onco", ["temperature"], data=world / "data",
                        to=world / "whole.onco")  # fmt: skip
    assert len(whole.cases) == 4
    with pytest.raises(BadRun, match="learned from case"):
        oncoseg.fit(whole.model, ["conformal"], **fit)
    with pytest.raises(BadRun, match="temperature learns from labelled cases"):
        oncoseg.fit(world / "toy.onco", ["temperature"], to=world / "x.onco")
    with pytest.raises(BadRun, match="part 0 of 9 cannot be held out of 4 patients"):
        oncoseg.fit(world / "toy.onco", ["temperature"], folds=9, **fit)
    assert not (world / "x.onco").exists()


def test_a_threshold_that_is_given_needs_no_data_and_replaces_the_last(world, capsys):
    first, second = world / "first.onco", world / "second.onco"
    words = ["fit", str(world / "toy.onco"), "--posthoc", "operating_point:threshold=0.7"]
    assert call([*words, "--to", str(first)]) == 0
    assert f"the model is {first}" in capsys.readouterr().out
    oncoseg.fit(first, ["operating_point:threshold=0.9,floor=0.4"], to=second)
    (step,) = open_model(second).posthoc.values()
    assert (step.threshold, step.floor) == (0.9, 0.4)
    done = predict(second, world / "data", to=world / "sure", cases=held(world / "toy.onco")[:1])
    record = json.loads(done.done[0].read_text())
    assert any("Operating point of" in note for note in record["notes"])
    assert np.isfinite(list(record["confidence"].values())).all()


def test_what_learned_from_other_predictions_is_taught_again_or_left_out(world, capsys):
    """A promise holds of the predictions it was learned from alone."""
    data, first = world / "data", world / "promised.onco"
    promised = ("predicted_dice:level=0.3", "conformal:level=0.5")
    train(replace(Run.read(world / "toy.run" / "run.toml"), to=str(first), posthoc=promised))
    to = world / "redrawn.onco"
    words = ["fit", str(first), "--posthoc", "operating_point:threshold=0.7", "--to", str(to)]
    assert call(words) == 0
    said = capsys.readouterr().out
    assert "predicted_dice:level=0.3 was left out: it learned from other predictions" in said
    model = open_model(to)
    assert list(model.posthoc) == ["operating_point:threshold=0.7"]
    assert call(["show", str(to)]) == 0
    assert "before operating_point, which changes labels" in capsys.readouterr().out
    done = predict(to, data, to=world / "told", cases=held(world / "toy.onco")[:1]).done
    (told,) = [note for note in json.loads(done[0].read_text())["notes"] if "validation" in note]
    assert "4 held-out cases, before operating_point: " in told
    again = oncoseg.fit(first, ["temperature"], data=data, to=world / "again.onco")
    assert again.left_out == ()
    assert list(open_model(again.model).posthoc) == ["temperature", *promised]
    before, after = (open_model(one).posthoc[promised[0]].state for one in (first, again.model))
    assert before["scores"] != after["scores"]
    again.model.with_suffix(".run").joinpath("held_out.json").unlink()  # else all are known to it
    kept = oncoseg.fit(again.model, ["conformal:level=0.4"], data=data, to=world / "kept.onco")
    steps = open_model(kept.model).posthoc
    assert list(steps) == ["temperature", promised[0], "conformal:level=0.4"]
    assert steps[promised[0]].state == after


def test_a_threshold_goes_with_the_probabilities_it_was_learned_from(world):
    """It comes after the temperature it was learned under, and goes when that is replaced."""
    data, first = world / "data", world / "point.onco"
    point = "operating_point:false_positives=99,floor=0.01,iou=0.001"
    steps = ("temperature:voxels=50", point)
    train(replace(Run.read(world / "toy.run" / "run.toml"), to=str(first), posthoc=steps))
    new = ["temperature"]
    assert oncoseg.fit(first, new, data=data, to=world / "n.onco").learned.keys() == {*new, point}
    assert list(open_model(world / "n.onco").posthoc) == [*new, point]


def test_the_predicted_dice_is_learned_from_the_confidence_that_predict_will_give(world):
    """The temperature is taught in the same call, and changes the confidence."""
    steps = ["temperature", "predicted_dice:level=0.3"]
    fitted = oncoseg.fit(world / "toy.onco", steps, data=world / "data", to=world / "sure.onco")
    assert fitted.learned["temperature"]["temperature"] != 1
    outcome = predict(fitted.model, world / "data", to=world / "sure", cases=fitted.cases)
    rows = evaluate(world / "sure", world / "data", cases=fitted.cases).rows
    scores: dict[str, list[float]] = {}
    for path in outcome.done:
        _, record = results.load(path)
        assert record["predicted_dice"]
        for name, dice in record["confidence"].items():
            (true,) = [
                row.value
                for row in rows
                if (row.case, row.region, row.metric) == (record["case"], name, "dice")
            ]
            scores.setdefault(name, []).append(np.log((1.02 - true) / (1.02 - dice)))
    for name, (low, middle, high) in fitted.learned[steps[1]]["scores"].items():
        assert middle == pytest.approx(np.median(scores[name]), abs=2e-3)
        assert (low, high) == pytest.approx((min(scores[name]), max(scores[name])), abs=2e-3)
