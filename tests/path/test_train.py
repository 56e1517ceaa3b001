"""The loop learns, resumes to the same weights, and leaves a model that predicts."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from oncoseg import checkpoint, results
from oncoseg.errors import BadData, BadFile, BadRun
from oncoseg.evaluate import evaluate
from oncoseg.model import open_model
from oncoseg.predict import predict
from oncoseg.prepare import Plan, open_store
from oncoseg.run import AUGMENTATIONS, Run
from oncoseg.train import prepared, resolved, train
from oncoseg.train.loop import Loop
from oncoseg.train.page.watch import chart
from runs import lines, loop_of, toy_data, toy_run, weights_of


def world(folder, dims, **options):
    task, _ = toy_data(folder / "data", 2, 6, dims=dims, size=24, **options)
    return toy_run(
        folder,
        task,
        network="unet:width=8",
        augmentations=("spatial:probability=0",),
        folds=3,
        steps=60,
        rate=1e-2,
        average=0.8,
    )


def test_a_network_with_weights_of_both_dimensions_is_trained(tmp_path):
    network = "two5d_suite:kind=hybrid,network=(unet:width=4,blocks=1),volume=(unet:width=4)"
    run = replace(world(tmp_path, 3), network=network, steps=2)
    assert open_model(train(run)).card["validation"]["dice"]


@pytest.mark.parametrize(("dims", "overlapping"), [(2, False), (3, True)])
def test_a_toy_world_is_learned_and_predicted_without_torch(tmp_path, dims, overlapping):
    run = world(tmp_path, dims, overlapping=overlapping)
    model = train(run)
    said = lines(run)
    assert [line["step"] for line in said] == list(range(3, 61, 3))
    assert said[-1]["loss"]["segmentation"] < 0.7 * said[0]["loss"]["segmentation"]
    held = json.loads((run.folder / "held_out.json").read_text())
    validation = json.loads((run.folder / "validation.json").read_text())
    assert sorted(validation["cases"]) == sorted(held)
    assert min(validation["dice"].values()) > 0.6
    assert open_model(model).card["validation"]["dice"] == validation["dice"]
    outcome = predict(model, tmp_path / "data", to=tmp_path / "out")
    assert not outcome.failed
    assert evaluate(tmp_path / "out", tmp_path / "data").mean(next(iter(run.regions)), "dice") > 0.6
    assert len(results.find(tmp_path / "out")) == 6


def test_curves_are_drawn_for_tensorboard_where_it_is_installed(tmp_path):
    pytest.importorskip("tensorboard", reason="needs the extra tensorboard")
    chart(tmp_path / "board", 3, {"loss": {"segmentation": 0.5}})
    assert any(path.stat().st_size > 0 for path in (tmp_path / "board").iterdir())


def weights(of):
    return of.average.network.state_dict()


def test_going_on_from_a_checkpoint_gives_the_same_weights_to_the_bit(tmp_path):
    run = world(tmp_path, 2)
    whole = loop_of(run)
    for step in range(6):
        whole.progress.step = step
        whole._step(whole.sampler(step), step)
    first = loop_of(run)
    for step in range(3):
        first.progress.step = step
        first._step(first.sampler(step), step)
    first.progress.step = 3
    path = tmp_path / "half.safetensors"
    checkpoint.save(path, first.modules, first.optimiser, first.progress)
    second = loop_of(run)
    second.progress = checkpoint.load(path, second.modules, second.optimiser)
    assert second.progress == first.progress
    for step in range(3, 6):
        second.progress.step = step
        second._step(second.sampler(step), step)
    assert all(torch.equal(value, weights(second)[name]) for name, value in weights(whole).items())
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(BadFile, match="not a whole checkpoint"):
        checkpoint.load(path, second.modules, second.optimiser)


def test_a_run_is_not_written_over_and_goes_on_when_asked(tmp_path):
    run = world(tmp_path, 2)
    train(run)
    with pytest.raises(BadRun, match="already holds a run; go on with --resume"):
        train(run)
    (tmp_path / "model.onco").unlink()
    assert train(run, resume=True).exists()


def steps_of(run):
    return [line["step"] for line in lines(run)]


def test_a_run_that_was_stopped_goes_on_to_the_same_model_to_the_bit(tmp_path, monkeypatch):
    run = replace(world(tmp_path, 2), steps=12)
    train(run)
    whole = weights_of(run)
    assert steps_of(run) == list(range(1, 13))
    shutil.rmtree(run.folder)
    Path(run.to).unlink()
    genuine = Loop._step

    def killed(self, batch, step):
        if step == 7:
            raise KeyboardInterrupt
        return genuine(self, batch, step)

    with monkeypatch.context() as patch:
        patch.setattr(Loop, "_step", killed)
        with pytest.raises(KeyboardInterrupt):
            train(run)
    assert not Path(run.to).exists()
    assert steps_of(run) == list(range(1, 8))
    train(run, resume=True)
    assert weights_of(run) == whole
    assert steps_of(run) == list(range(1, 13))
    assert Run.read(run.folder / "run.toml") == resolved(run)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"fold": 1}, "begun with fold not given, now it is 1"),
        ({"hold": ("world_001",)}, "begun with hold not given"),
        ({"regions": {"c2": ("c2",)}}, "begun with regions"),
        ({"network": "unet:width=4"}, "begun with network unet:width=8, now it is unet:width=4"),
    ],
)
def test_going_on_as_another_run_is_refused(tmp_path, change, sentence):
    run = world(tmp_path, 2)
    begun = loop_of(run)
    begun.run.write(run.folder / "run.toml")
    last = run.folder / "last.safetensors"
    checkpoint.save(last, begun.modules, begun.optimiser, begun.progress)
    with pytest.raises(BadRun, match=sentence):
        train(replace(run, **change), resume=True)


def test_a_new_run_prepares_anew(tmp_path):
    run = replace(world(tmp_path, 2), steps=1, folds=1)
    store = prepared(run)  # as a run that was stopped before its first checkpoint leaves it
    labels = {name.upper(): value for name, value in run.labels.items()}
    train(replace(run, labels=labels, regions={name: (name,) for name in labels}))
    assert dict(Plan.read(store / "plan.json").task.labels) == labels


def test_prepared_data_of_another_task_are_refused(tmp_path):
    run = world(tmp_path, 2)
    run = replace(run, data=str(prepared(run)))
    with pytest.raises(BadData, match=r"plan.json has the regions .*, and not .*'c2'"):
        train(replace(run, regions={"c2": ("c2",)}))


def test_held_out_patients_without_labels_are_not_scored(tmp_path):
    run = world(tmp_path, 2)
    name = "world_004"
    for path in (tmp_path / "data" / name).glob("*_mask*"):
        path.unlink()
    train(replace(run, steps=2, folds=1, hold=(name, "world_005")))
    assert json.loads((run.folder / "held_out.json").read_text()) == ["world_005"]
    validation = json.loads((run.folder / "validation.json").read_text())
    assert list(validation["cases"]) == ["world_005"]
    assert open_model(run.to).card["trained_on"] == "4 cases of data"


def test_a_missing_modality_is_no_hindrance_and_is_noted(tmp_path):
    run = replace(world(tmp_path, 2), augmentations=("modality_dropout",))
    model = train(run)
    for path in (tmp_path / "data").glob("*/b_*"):
        path.unlink()
    outcome = predict(model, tmp_path / "data", to=tmp_path / "out")
    assert len(outcome.done) == 6
    assert not outcome.failed
    for record in outcome.done:
        found, _ = results.load(record)
        assert found.used == ("a",)
        assert found.missing == ("b",)
        assert "Segmented from a alone; b was not given" in found.notes[0]
    score = evaluate(tmp_path / "out", tmp_path / "data").mean(next(iter(run.regions)), "dice")
    assert score > 0.5


def test_what_the_machine_or_the_data_lack_is_one_sentence(tmp_path):
    run = world(tmp_path, 2)
    with pytest.raises(BadRun, match="no device 'gpu'; use cpu, cuda or mps"):
        train(replace(run, device="gpu"))
    assert not run.folder.exists()
    for path in (tmp_path / "data").glob("*/*_mask*"):
        path.unlink()
    with pytest.raises(BadData, match="no case has a label map; training needs at least one"):
        train(run)


def test_validating_takes_little_of_the_minutes_and_is_never_left_out_at_the_end(tmp_path):
    run = replace(world(tmp_path, 2), steps=0, minutes=10.0, batch=1)
    store = prepared(run)
    plan, cases = Plan.read(store / "plan.json"), open_store(store)
    loop = Loop(run, plan, cases[:4], cases[4:])
    loop.progress.step, loop.progress.seconds = 1, 60.0
    assert not loop._may_look()  # two windows cost 40 s, as far as can be told
    loop.progress.step = 100
    assert loop._may_look()
    loop.looked = loop.looking = 4.0
    assert not loop._may_look()
    loop.progress.seconds = 81.0
    assert loop._may_look()
    loop.looked, loop.progress.seconds = 500.0, 600.0
    assert loop._may_look()


def test_patches_are_as_large_as_leaves_time_for_a_thousand_steps_on_a_cpu(monkeypatch):
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    short, day = (resolved(Run("data", "m.onco", minutes=m, device="cpu")) for m in (10, 1440))
    assert short.voxels == 90_000
    assert day.voxels == 96**3
    by_steps = resolved(Run("data", "m.onco", minutes=10, steps=5, device="cpu"))
    assert by_steps.voxels == 96**3
    given = resolved(Run("data", "m.onco", minutes=10, voxels=5000, device="cpu"))
    assert given.voxels == 5000
    monkeypatch.setattr("os.cpu_count", lambda: 8)
    assert resolved(Run("data", "m.onco", minutes=10, device="cpu")).voxels == 360_000


def test_short_trainings_change_intensities_less_unless_told_otherwise():
    def of(**words):
        return resolved(Run("data", "m.onco", device="cpu", **words)).augmentations

    assert of(minutes=15) == ("spatial", "intensity:strength=0.25", "modality_dropout")
    assert of(minutes=60) == of(steps=100, minutes=0) == AUGMENTATIONS
    assert of(minutes=15, augmentations=("intensity",)) == ("intensity",)
