"""What the operating point promises of held-out cases is what is measured after it is applied."""

import json

import numpy as np
import pytest
from scipy import ndimage

from contests import many_candidates
from oncoseg import Grid, Prediction, build
from oncoseg.blocks.relabel import redrawn, within
from oncoseg.errors import BadData, BadOption, UnknownName
from worlds import classes_task, regions_task

SHAPE = (28, 28, 14)
GRID = Grid(SHAPE, np.diag([1.0, 1.0, 3.0, 1.0]))
TASK = classes_task(3, 16, classes=1)
CLASSES, NESTED = classes_task(3, 16, classes=2), regions_task(3, 16)


def simulated(seed):
    return many_candidates(TASK, GRID, seed)


def measured(prediction, truth):
    masks = prediction.masks["class_1"], truth == 1
    return [
        build("metrics", f"{name}:iou=0.1")(*masks, GRID.spacing)
        for name in ("lesion_sensitivity", "false_positives")
    ], ndimage.label(masks[1], np.ones((3, 3, 3)))[1]


@pytest.mark.parametrize("asked", ["false_positives=2", "sensitivity=0.2", "threshold=0.8"])
@pytest.mark.parametrize("floor", [0.35, 0.5])
def test_what_is_promised_is_what_evaluate_finds(asked, floor):
    step = build("posthoc", f"operating_point:{asked},floor={floor}")
    pairs = [simulated(seed) for seed in range(5)]
    step.fit([step.lesson(*pair) for pair in pairs])
    point = step.state["points"]["class_1"]
    rows = [measured(step(prediction), truth) for prediction, truth in pairs]
    lesions = sum(count for _, count in rows)
    assert sum(row[0] * count for row, count in rows) / lesions == pytest.approx(
        point["sensitivity"], abs=1e-6
    )
    assert np.mean([row[1] for row, _ in rows]) == pytest.approx(point["false_positives"])
    assert point["sensitivity_low"] <= point["sensitivity"] <= point["sensitivity_high"]
    if asked.startswith("false"):
        assert point["false_positives"] <= 2
    json.dumps(step.state, allow_nan=False)


def test_a_lower_floor_finds_what_the_model_doubts():
    doubt = np.full(SHAPE, 0.05, np.float16)
    doubt[2:5, 2:5, 2:5], doubt[12:16, 12:16, 5:8] = 0.4, 0.9
    truth = (doubt > 0.3).astype(np.int16)
    sure = (doubt > 0.5).astype(np.uint8)
    prediction = Prediction("case", TASK, GRID, sure, doubt[None], ("image",))
    found = []
    for floor in (0.5, 0.3):
        step = build("posthoc", f"operating_point:false_positives=0,floor={floor}")
        step.fit([step.lesson(prediction, truth)])
        found.append(step.state["points"]["class_1"]["sensitivity"])
        assert np.array_equal(step(prediction).label, sure if floor == 0.5 else truth)
    assert found == [0.5, 1]


def test_candidates_that_stay_are_whole_and_a_note_counts_them():
    prediction, _ = simulated(3)
    step = build("posthoc", "operating_point:threshold=0.9")
    after = step(prediction)
    before, mask = prediction.probability[0] >= 0.5, after.masks["class_1"]
    pieces, count = ndimage.label(before, np.ones((3, 3, 3)))
    highest = ndimage.maximum(prediction.probability[0].astype(float), pieces, range(1, count + 1))
    sure = np.flatnonzero(highest >= 0.9) + 1
    assert np.array_equal(mask, np.isin(pieces, sure))
    assert f"{len(sure)} of {count} candidates stay" in after.notes[-1]
    assert np.array_equal(after.probability, prediction.probability)


def test_what_cannot_be_had_is_refused():
    pairs = [simulated(seed) for seed in range(2)]
    step = build("posthoc", "operating_point:sensitivity=1")
    with pytest.raises(BadData, match="class_1: no threshold finds 1 of the lesions"):
        step.fit([step.lesson(*pair) for pair in pairs])
    with pytest.raises(UnknownName, match="region"):
        build("posthoc", "operating_point:region=class_2").lesson(*pairs[0])
    for wrong in ("sensitivity=1.5", "threshold=-1", "false_positives=-1", "floor=0"):
        with pytest.raises(BadOption):
            build("posthoc", f"operating_point:{wrong}")


def test_a_region_that_is_redrawn_is_the_mask_and_takes_as_little_as_can_be():
    rng = np.random.default_rng(0)
    for task in (CLASSES, NESTED):
        label = rng.choice([0, *task.labels.values()], SHAPE).astype(np.uint8)
        for name in task.regions:
            mask = rng.random(SHAPE) > 0.5
            assert np.array_equal(task.masks(redrawn(task, name, label, mask))[name], mask)
    assert within(NESTED, "WT")[[0, 1, 2, 4]].tolist() == [2, 1, 2, 4]
    assert within(NESTED, "TC")[[0, 1, 2, 4]].tolist() == [1, 1, 1, 4]
    assert within(NESTED, "ET")[[0, 1, 2, 4]].tolist() == [4, 4, 4, 4]
    assert within(CLASSES, "class_1")[[0, 1, 2]].tolist() == [1, 1, 1]
