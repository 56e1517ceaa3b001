"""One pair as it is: two arrays or two files, of every kind, and what is refused of them."""

import math

import nibabel
import numpy as np
import pytest

import oncoseg
from oncoseg import Grid, Prediction, Task, build, registry, results
from oncoseg.errors import BadData, BadFile, BadOption, OncosegError
from oncoseg.evaluate import evaluate
from oncoseg.write import write_volume

SPACING = (1.0, 2.0, 2.5)
SHAPE = (12, 10, 8)
GRID = Grid(SHAPE, np.diag([*SPACING, 1.0]))
TASK = Task("toy", ("t1",), {"rim": 1, "core": 2}, {"whole": ("rim", "core"), "core": ("core",)})
REGIONS = {"whole": (1, 2), "core": (2,)}


def labels(start=2):
    """A box of 6 x 4 x 4 voxels from `start` on, with a core of 2 x 2 x 2."""
    label = np.zeros(SHAPE, np.uint8)
    label[start : start + 6, 2:6, 2:6] = 1
    label[start + 2 : start + 4, 3:5, 3:5] = 2
    return label


def masks(label):
    return {name: np.isin(label, values) for name, values in REGIONS.items()}


def claims(label, seed=0):
    noise = np.random.default_rng(seed).random((2, *SHAPE))
    return {
        name: np.clip(0.8 * mask + 0.3 * one, 0, 1).astype(np.float32)
        for (name, mask), one in zip(masks(label).items(), noise)
    }


def test_the_verb_is_called_by_its_name():
    found = oncoseg.evaluate(labels(4), labels(), spacing=SPACING, regions=REGIONS)
    assert found.mean("whole", "dice") == pytest.approx(4 / 6)
    assert found.means["core"]["hd95"] == 2
    assert found.rows[0].true_ml == pytest.approx(96 * 5 / 1000)
    assert [row.case for row in found.rows] == ["arrays"] * 10
    assert found.as_dict()["format"] == "oncoseg-evaluation-1"
    assert "whole" in found.table()


@pytest.mark.parametrize("dims", [2, 3])
def test_every_kind_has_the_values_of_the_metrics_themselves(dims):
    cut = (slice(None),) * dims + (4,) * (3 - dims)
    drawn, true, spacing = labels(4)[cut], labels()[cut], SPACING[:dims]
    names = ("dice", "hd95", "volume_difference", "lesion_f1")
    expected = {
        region: {
            name: build("metrics", name)(np.isin(drawn, values), np.isin(true, values), spacing)
            for name in names
        }
        for region, values in REGIONS.items()
    }
    options = {"spacing": spacing, "metrics": names}
    both = [{name: np.isin(label, values) for name, values in REGIONS.items()}
            for label in (drawn, true)]  # fmt: skip
    assert evaluate(drawn, true, regions=REGIONS, **options).means == expected
    assert evaluate(drawn, true, regions=TASK, **options).means == expected
    assert evaluate(*both, **options).means == expected
    assert evaluate(drawn, both[1], regions=REGIONS, **options).means == expected
    assert evaluate(both[0], true, regions=REGIONS, **options).means == expected
    alone = evaluate(both[0]["whole"], both[1]["whole"], **options).means
    assert alone == {"mask": expected["whole"]}
    soft = {name: mask * 0.4 + 0.3 for name, mask in both[0].items()}
    assert evaluate(soft, both[1], **options).means == expected
    numbered = evaluate(drawn.astype(np.int64), true, **options).means
    assert set(numbered) == {"1", "2"}
    assert numbered["2"] == expected["core"]


def test_probabilities_of_one_region_and_of_several():
    names = ("dice", "ece", "brier")
    drawn, true = claims(labels(4)), masks(labels())
    expected = {
        region: [build("metrics", name)(drawn[region], true[region], SPACING) for name in names[1:]]
        for region in REGIONS
    }
    for truth, regions in ((true, None), (labels(), REGIONS), (labels(), TASK)):
        found = evaluate(drawn, truth, spacing=SPACING, metrics=names, regions=regions)
        for region, values in expected.items():
            assert [found.mean(region, name) for name in names[1:]] == values
            predicted = drawn[region] >= 0.5
            assert found.mean(region, "dice") == build("metrics", "dice")(
                predicted, true[region], SPACING
            )
        assert set(found.reliability) == set(REGIONS)
    one = evaluate(drawn["core"], true["core"], spacing=SPACING, metrics=names)
    assert one.mean("mask", "ece") == expected["core"][0]
    other = evaluate(
        drawn["core"].astype(np.float64), labels(), spacing=SPACING, metrics=names,
        regions={"core": (2,)},
    )  # fmt: skip
    assert other.mean("core", "ece") == pytest.approx(expected["core"][0], abs=1e-6)


def test_instances_are_numbered_by_their_values():
    truth = np.zeros((6, 9), np.int32)
    truth[1:5, 1:4], truth[1:5, 4:8] = 70_000, 3
    names = ("panoptic_quality", "dice")
    merged = (truth > 0).astype(np.uint8)
    assert evaluate(truth, truth, metrics=names, instances=True).means["instances"] == {
        "panoptic_quality": 1.0,
        "dice": 1.0,
    }
    found = evaluate(merged, truth, metrics=names, instances=True)
    assert found.mean("instances", "panoptic_quality") < 1
    assert found.mean("instances", "dice") == 1


SIZED = {"volume_difference", "brats_dice"} | {
    name for name in registry.names("metrics") if build("metrics", name).distances
}


@pytest.mark.parametrize("name", registry.names("metrics"))
def test_without_spacing_only_what_needs_none_is_measured(name):
    drawn, true = claims(labels(4))["whole"], masks(labels())["whole"]
    if not registry.entry("metrics", name).needs:
        drawn = drawn >= 0.5
    spacings = ((1.0, 1.0, 1.0), SPACING, (0.1, 0.3, 0.2), (9.0, 7.0, 8.0))
    values = [
        evaluate(drawn, true, spacing=spacing, metrics=(name,)).mean("mask", name)
        for spacing in spacings
    ]
    if name in SIZED:
        with pytest.raises(BadOption, match=f"{name} need the size of voxels"):
            evaluate(drawn, true, metrics=(name,))
    else:
        found = evaluate(drawn, true, metrics=(name,))
        assert values == pytest.approx([found.mean("mask", name)] * 4, abs=1e-12)
        assert math.isnan(found.rows[0].true_ml)


LABELS, MASK, SOFT = labels(), labels() > 0, claims(labels())["whole"]
NAN = np.where(MASK, np.float32("nan"), SOFT)
REFUSED = {
    "shapes": (MASK[1:], MASK, {}, BadData, r"shapes differ, \(11, 10, 8\) and \(12, 10, 8\)"),
    "no spacing": (MASK, MASK, {"spacing": None}, BadOption, r"hd95.* need the size of voxels"),
    "few lengths": (MASK, MASK, {"spacing": (1, 2)}, BadOption, "takes 3 lengths above 0"),
    "one length": (MASK, MASK, {"spacing": 1.0}, BadOption, "takes 3 lengths above 0"),
    "no length": (MASK, MASK, {"spacing": (1, 2, 0)}, BadOption, "takes 3 lengths above 0"),
    "mask and labels": (MASK, LABELS, {}, BadData, "a mask, the truth a label map; give two"),
    "labels and mask": (LABELS, MASK, {}, BadData, "a label map, the truth a mask; give two"),
    "soft truth": (MASK, SOFT, {}, BadData, "a mask and the truth a probability; a truth is"),
    "both soft": (SOFT, SOFT, {}, BadData, "the truth a probability; a truth is a mask"),
    "NaN": (NAN, MASK, {}, BadData, "the prediction holds NaN, which is no probability"),
    "float labels": (LABELS * 1.0, MASK, {}, BadData, r"from 0 to 2, .*astype\(int\)"),
    "logits": (SOFT - 3, MASK, {}, BadData, "no probability"),
    "negative": (LABELS.astype(int) - 1, LABELS, {}, BadData, "the prediction holds -1"),
    "words": (np.array([["a"]]), MASK, {}, BadData, "give numbers, or a path"),
    "one axis": (MASK[0, 0], MASK[0, 0], {}, BadData, "give two axes or three"),
    "channels": (MASK[None], MASK[None], {}, BadData, "give two axes or three"),
    "no voxel": (MASK[:0], MASK[:0], {}, BadData, "with voxels"),
    "unknown label": (LABELS + 1, LABELS, {"regions": REGIONS}, BadData, "holds the label 3"),
    "soft, labels": (SOFT, LABELS, {}, BadOption, "truth is a label map; say the values of each"),
    "other names": (masks(LABELS), {"core": MASK}, {}, BadData, "regions whole, core, the truth"),
    "no names": ({}, {}, {}, BadData, "names no region"),
    "values for masks": (MASK, MASK, {"regions": REGIONS}, BadOption, "no label map"),
    "regions of instances": (
        *(LABELS, LABELS, {"instances": True, "regions": REGIONS}, BadOption, "no regions"),
    ),
    "masks as instances": (MASK, MASK, {"instances": True}, BadData, "whole numbers"),
    "a path and an array": ("a.nii.gz", MASK, {}, BadData, "one of the prediction and the truth"),
    "nothing drawn": (LABELS * 0, LABELS * 0, {}, BadData, "label above 0; say the regions"),
    "cases": (MASK, MASK, {"cases": ("a",)}, BadOption, "'cases' are those of two folders"),
    "no probability": (MASK, MASK, {"metrics": ("ece",)}, BadOption, "ece need probabilities"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_would_compare_silently_wrong_is_refused(what):
    prediction, truth, options, kind, sentence = REFUSED[what]
    with pytest.raises(kind, match=sentence):
        evaluate(prediction, truth, **{"spacing": SPACING, **options})


def test_nothing_drawn_is_a_region_where_that_is_said():
    found = evaluate(LABELS * 0, LABELS * 0, spacing=SPACING, regions={"tumour": (1,)})
    assert found.mean("tumour", "dice") == 1


@pytest.fixture
def folder(tmp_path):
    """Files of one case, in a folder whose name is no plain word."""
    folder = tmp_path / "Größe 1"
    write_volume(folder / "drawn.nii.gz", labels(4), GRID)
    write_volume(folder / "true.nii.gz", labels(), GRID)
    write_volume(folder / "soft.nii.gz", claims(labels(4))["whole"], GRID)
    found = np.stack(list(claims(labels(4)).values()))
    case = Prediction("kept", TASK, GRID, labels(4), found, ("t1",))
    results.save(case, folder / "out", probabilities=True)
    return folder


def test_two_files_have_their_own_spacing(folder):
    for path in (str, lambda path: path):
        found = evaluate(path(folder / "drawn.nii.gz"), path(folder / "true.nii.gz"))
        assert {row.case for row in found.rows} == {"drawn"}
        assert found.means == evaluate(labels(4), labels(), spacing=SPACING).means
    record = evaluate(folder / "out" / "kept.json", folder / "true.nii.gz", metrics=("dice", "mce"))
    assert {(row.case, row.region) for row in record.rows} == {("kept", "whole"), ("kept", "core")}
    assert 0 < record.mean("whole", "mce") <= 1
    whole = {"regions": {"whole": (1, 2)}, "metrics": ("dice", "brier")}
    kept = folder / "out" / "kept.probability.whole.nii.gz"
    values = [
        evaluate(path, folder / "true.nii.gz", **whole).means["whole"]
        for path in (folder / "soft.nii.gz", kept)
    ]
    assert values[0]["dice"] == values[1]["dice"]
    assert values[0]["brier"] == pytest.approx(values[1]["brier"], abs=0.004)  # steps of 1/255
    written = evaluate(folder / "drawn.nii.gz", folder / "true.nii.gz", to=folder / "scores")
    assert (folder / "scores" / "evaluation.json").exists()
    assert len(written.rows) == 10


def test_files_that_do_not_fit_are_refused(folder):
    drawn, true = folder / "drawn.nii.gz", folder / "true.nii.gz"
    with pytest.raises(BadOption, match="files say their own spacing"):
        evaluate(drawn, true, spacing=SPACING)
    with pytest.raises(BadOption, match="files say their own spacing"):
        evaluate(folder, folder, spacing=SPACING)
    with pytest.raises(BadData, match=r"is a folder and .* a file; give two files or two folders"):
        evaluate(drawn, folder)
    with pytest.raises(BadData, match=r"is a folder and .* a file; give two files or two folders"):
        evaluate(folder, true)
    with pytest.raises(BadData, match=r"nowhere\.nii: does not exist"):
        evaluate(folder / "nowhere.nii", true)
    with pytest.raises(BadData, match="no value is an instance"):
        evaluate(folder / "out" / "kept.json", true, instances=True)
    (folder / "other.json").write_text("{}")
    with pytest.raises(BadData, match="is no record of a prediction"):
        evaluate(folder / "other.json", true)
    write_volume(folder / "apart.nii.gz", labels(), Grid(SHAPE, np.diag([1.0, 1.0, 2.5, 1.0])))
    with pytest.raises(BadData, match="are on different grids: their corners are up to 9 mm"):
        evaluate(drawn, folder / "apart.nii.gz")
    with pytest.raises(BadFile, match="is no label map: it holds fractions"):
        evaluate(drawn, folder / "soft.nii.gz")
    (folder / "broken.nii.gz").write_bytes(drawn.read_bytes()[:-20])
    with pytest.raises(BadFile, match="broken"):
        evaluate(folder / "broken.nii.gz", true)
    (folder / "out" / "kept.probability.core.nii.gz").unlink()
    with pytest.raises(OncosegError, match=r"kept\.probability\.core"):
        evaluate(folder / "out" / "kept.json", true, metrics=("ece",))


def test_a_pair_on_a_sheared_grid_has_overlaps_alone(folder):
    affine = GRID.affine.copy()
    affine[1, 2] = 0.9
    for name, label in (("a", labels(4)), ("b", labels())):
        nibabel.save(nibabel.Nifti1Image(label, affine), folder / f"{name}.nii.gz")
    found = evaluate(folder / "a.nii.gz", folder / "b.nii.gz", regions=REGIONS)
    assert found.mean("whole", "dice") == pytest.approx(4 / 6)
    assert math.isnan(found.mean("whole", "hd95"))
    assert list(found.failed) == ["a"]
