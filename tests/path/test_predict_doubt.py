"""How sure a prediction is: voxel by voxel, lesion by lesion, from one pass, within its memory."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from grids import oriented
from oncoseg import phantom, registry, results
from oncoseg.case import Case, Prediction, Task, Volume
from oncoseg.model import save_model
from oncoseg.predict import predict
from oncoseg.predict.doubt import MAPS, doubt, lesions, names, with_lesions
from oncoseg.predict.load import Load
from oncoseg.predict.scan import Scan, Segmenter
from oncoseg.prepare.align import resample
from oncoseg.prepare.plan import Normalisation, Plan
from oncoseg.read import read_volume

CLASSES = Task("e", ("a",), {"x": 3, "y": 7, "z": 1}, {name: (name,) for name in "xyz"})
REGIONS = replace(CLASSES, regions={"all": ("x", "y", "z"), "core": ("y", "z"), "z": ("z",)})


def logits_of(task, shape=(40,), seed=0):
    return np.random.default_rng(seed).normal(0, 3, (task.outputs, *shape)).astype(np.float32)


def test_entropy_and_margin_of_classes_by_their_definition():
    logits = logits_of(CLASSES)
    p = np.exp(logits) / np.exp(logits).sum(0)
    entropy, margin, chance = doubt(CLASSES, logits, kept=False)
    first, second = np.sort(p, axis=0)[[-1, -2]]
    assert np.abs(entropy / 255 - -(p * np.log(p)).sum(0) / np.log(4)).max() < 1 / 255
    assert np.abs(margin / 255 - (first - second)).max() < 1 / 255
    assert np.abs(chance / 255 - first).max() < 1 / 255


def test_entropy_and_margin_of_regions_are_those_of_the_most_doubtful():
    logits = logits_of(REGIONS)
    p = 1 / (1 + np.exp(-logits.astype(float)))
    entropy, margin, *chances = doubt(REGIONS, logits, kept=False)
    bits = -(p * np.log2(p) + (1 - p) * np.log2(1 - p))
    assert np.abs(entropy / 255 - bits.max(0)).max() < 1 / 255
    assert np.abs(margin / 255 - np.abs(2 * p - 1).min(0)).max() < 1 / 255
    assert np.abs(np.array(chances) / 255 - p).max() < 1 / 255


@pytest.mark.parametrize("task", [CLASSES, REGIONS])
def test_what_is_sure_has_no_entropy_and_what_is_unknown_all(task):
    sure, unknown = np.full((2, task.outputs, 1), 0.0, np.float32)
    sure[:] = -90
    sure[0] = 90
    assert [int(one[0]) for one in doubt(task, sure, kept=True)] == [0, 255]
    assert [int(one[0]) for one in doubt(task, unknown, kept=True)] == [255, 0]


def network(image, present):
    return np.concatenate([np.sin(k * image) * (k + 1) for k in range(4)], axis=1)


def scan():
    grid = oriented((30, 26, 34), (1.0, 1.2, 2.0), (2, 0, 1), (1, -1, -1), tilt=0.1)
    array = np.random.default_rng(1).normal(size=(30, 26, 34)).astype(np.float32)
    small = replace(CLASSES, patch=(8, 8, 8), strides=((2, 2, 2),), spacing=(1.5,) * 3)
    plan = Plan(small, {"a": Normalisation()})
    return Scan.of(Case("c", "c", {"a": Volume(array, grid, Path("a.nii.gz"))}), plan), plan


def test_maps_come_on_the_scans_grid_and_change_no_label(tmp_path, monkeypatch):
    one, plan = scan()
    plain = Segmenter(plan, network)(one)
    found = Segmenter(plan, network, keep=False, doubt=True)(one)
    assert np.array_equal(found.label, plain.label)
    assert found.confidence == plain.confidence
    p = np.concatenate([1 - plain.probability.sum(0, keepdims=True), plain.probability])
    p = np.clip(p.astype(float), 1e-9, 1)
    first, second = np.sort(p, axis=0)[[-1, -2]]
    assert list(found.maps) == ["entropy", "margin", "chance"]
    assert found.maps["entropy"].dtype == np.uint8
    inside = first < 0.999  # float16 says little of what is surer
    assert inside.mean() > 0.1
    assert np.abs(found.maps["margin"] / 255 - (first - second))[inside].max() < 0.01
    entropy = -(p * np.log(p)).sum(0) / np.log(4)
    assert np.abs(found.maps["entropy"] / 255 - entropy)[inside].max() < 0.01
    monkeypatch.setattr(Segmenter, "room", property(lambda self: self.base + 1))
    monkeypatch.setattr(Load, "most", property(lambda self: 0 if self.disk else 2))
    disk = Segmenter(plan, network, keep=False, doubt=True, folder=tmp_path)(one)
    assert all(np.array_equal(disk.maps[name], found.maps[name]) for name in found.maps)


def test_where_nothing_was_scanned_the_background_is_sure():
    one, plan = scan()
    one.aligned.present[:, :8] = False
    found = Segmenter(plan, network, keep=False, doubt=True)(one)
    gone = resample((~one.aligned.present[0]).astype(np.float32), one.aligned.grid, one.grid) > 0.99
    assert gone.any()
    assert not found.maps["entropy"][gone].any()
    assert (found.maps["margin"][gone] == 255).all()


@pytest.mark.parametrize("kept", [False, True])
@pytest.mark.parametrize("task", [CLASSES, REGIONS])
def test_each_lesion_has_the_mean_probability_in_it(task, kept):
    grid = oriented((20, 20, 20), (2.0, 2.0, 2.0), (0, 1, 2), (1, 1, 1))
    label = np.zeros(grid.shape, np.uint8)
    label[2:6, 2:6, 2:6] = 7
    label[10:16, 10:16, 10:16] = 7
    label[18, 18, 18] = 7  # 8 mm³
    p = np.zeros((3, *grid.shape), np.float16)
    at = list(task.regions).index("y" if task.exclusive else "core")
    p[at][label > 0] = 0.6
    p[at, 10:16, 10:16, 10:13] = 0.8
    chances = [np.round(255 * row.astype(float)).astype(np.uint8) for row in p]
    held = chances[at : at + 1] if task.exclusive else chances
    maps = {} if kept else dict(zip(names(task, kept=False)[2:], held))
    nothing = p if kept else p[:0]
    found = lesions(Prediction("c", task, grid, label, nothing, ("a",), maps=maps))
    found = [row for row in found if row["region"] in ("y", "core")]
    assert [row["name"][-2:] for row in found] == [" 1", " 2"]
    assert [row["volume_ml"] for row in found] == pytest.approx([1.728, 0.512])
    assert [row["confidence"] for row in found] == pytest.approx([0.7, 0.6], abs=1e-3)


def test_maps_are_part_of_the_promise():
    plain = Load(
        modalities=1,
        outputs=4,
        maps=0,
        regions=3,
        exclusive=True,
        working=(64,) * 3,
        native=(100,) * 3,
        patch=(32,) * 3,
        axis=0,
        along=0,
    )
    more = replace(plain, doubts=len(names(CLASSES, kept=False)))
    assert more.parts()["doubt"] == 3 * 100**3
    assert more.most - plain.most >= 3 * 100**3
    assert replace(more, disk=True).parts()["doubt"] == 0
    assert names(REGIONS, kept=True) == MAPS


def test_the_record_and_its_maps_say_how_sure_a_prediction_is(tmp_path):
    one, plan = scan()
    found = Segmenter(plan, network, keep=False, doubt=True)(one)
    found = with_lesions(found.but(samples=2, maps={**found.maps, "other": found.maps["margin"]}))
    assert list(found.maps) == ["entropy", "margin", "other"]
    saved, record = results.load(results.save(found, tmp_path))
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "c.entropy.nii.gz",
        "c.json",
        "c.margin.nii.gz",
        "c.nii.gz",
    ]
    assert (saved.samples, saved.lesions) == (2, found.lesions)
    assert record["lesions"]
    assert np.array_equal(read_volume(tmp_path / "c.entropy.nii.gz").array, found.maps["entropy"])
    results.save(found.but(maps={}), tmp_path)
    assert len(list(tmp_path.iterdir())) == 2


def test_predict_writes_samples_and_keeps_its_promise(tmp_path):
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    task, (case,) = phantom.world(1, 1, dims=3, size=16)
    phantom.write(case, tmp_path / "data", layout="folders")
    task = replace(task, patch=(16, 16, 16), strides=((2, 2, 2),))
    built = registry.build("networks", "unet:width=4,blocks=1", task)
    plan = Plan(task, {name: Normalisation() for name in task.modalities})
    card = {"mirrored_axes": "0"}
    model = save_model(tmp_path / "m.onco", built, "unet:width=4,blocks=1", plan, card, "licence")
    outcome = predict(model, tmp_path / "data", to=tmp_path / "out", samples=2)
    assert not outcome.failed
    (path,) = outcome.done
    found, record = results.load(path)
    assert record["asked"]["samples"] == found.samples == 2
    assert any(note.startswith("Mean of 2 mirrored views") for note in found.notes)
    kinds = {name.removeprefix(f"{found.case}.") for name in record["files"]}
    regions = [
        f"{kind}.{name}.nii.gz" for kind in ("probability", "spread") for name in task.regions
    ]
    assert kinds == {"nii.gz", "entropy.nii.gz", "margin.nii.gz", *regions}
    again = predict(model, tmp_path / "data", to=tmp_path / "out", uncertainty=True)
    assert not again.kept
    assert len(results.load(path)[1]["files"]) == 3
