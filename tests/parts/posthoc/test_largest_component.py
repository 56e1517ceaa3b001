"""The largest piece stays, what lay apart goes, nested regions stay nested, and it is said."""

import numpy as np
import pytest

from oncoseg import Grid, Prediction, build
from oncoseg.errors import UnknownName
from worlds import classes_task, regions_task


def predict(task, label):
    label = np.asarray(label, np.uint8)
    probability = np.stack(list(task.masks(label).values())).astype(np.float16)
    grid = Grid(label.shape, np.eye(label.ndim + 1))
    return Prediction("case", task, grid, label, probability, task.modalities)


def test_only_the_largest_piece_of_each_class_stays():
    label = np.zeros((10, 10), np.uint8)
    label[0:3, 0:3], label[6, 6], label[0, 5:7], label[8:10, 0:5] = 1, 1, 2, 2
    found = build("posthoc", "largest_component")(predict(classes_task(2), label))
    wanted = label.copy()
    wanted[6, 6] = wanted[0, 5:7] = 0
    assert np.array_equal(found.label, wanted)
    assert found.notes == (
        "Voxels of class_1 removed, apart from its largest piece: 1.",
        "Voxels of class_2 removed, apart from its largest piece: 2.",
    )


def test_an_island_of_an_inner_region_becomes_what_is_around_it():
    task = regions_task(2)
    label = np.zeros((12, 12), np.uint8)
    label[1:8, 1:8] = 2  # edema
    label[2:5, 2:5] = 1  # necrosis, the core ...
    label[3, 3] = 4  # ... around enhancing tumour
    label[6, 6] = 4  # a core apart from it
    label[10, 10] = 4  # a tumour apart
    found = build("posthoc", "largest_component")(predict(task, label))
    wanted = label.copy()
    wanted[6, 6], wanted[10, 10] = 2, 0
    assert np.array_equal(found.label, wanted)
    whole, core, enhancing = (found.masks[name] for name in ("WT", "TC", "ET"))
    assert (whole >= core).all()
    assert (core >= enhancing).all()


def test_the_core_inside_the_largest_tumour_stays_though_a_larger_one_lies_outside():
    task = regions_task(2)
    label = np.zeros((20, 8), np.uint8)
    label[0:8, 0:8], label[3, 3] = 2, 1
    label[12:16, 0:4] = 1
    found = build("posthoc", "largest_component")(predict(task, label))
    assert found.masks["TC"].sum() == 1
    assert found.masks["WT"].sum() == 64


@pytest.mark.parametrize(("corners", "left"), [(True, 8), (False, 4)])
def test_corners_connect_if_asked(corners, left):
    label = np.zeros((6, 6, 1), np.uint8)
    label[0:2, 0:2], label[2:4, 2:4] = 1, 1
    found = build("posthoc", f"largest_component:corners={corners}")(
        predict(classes_task(3), label)
    )
    assert found.masks["class_1"].sum() == left


def test_one_region_alone_if_named():
    label = np.zeros((10, 10), np.uint8)
    label[0:3, 0:3], label[6, 6], label[0, 5:7], label[8:10, 0:5] = 1, 1, 2, 2
    prediction = predict(classes_task(2), label)
    found = build("posthoc", "largest_component:region=class_2")(prediction)
    assert found.masks["class_1"].sum() == 10
    assert found.masks["class_2"].sum() == 10
    with pytest.raises(UnknownName, match="no region 'class_3'; did you mean"):
        build("posthoc", "largest_component:region=class_3")(prediction)
