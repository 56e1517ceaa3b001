"""Maps that number instances: learned as one thing, never as a class each."""

import numpy as np
import pytest

from oncoseg.case import Grid
from oncoseg.errors import BadData
from oncoseg.evaluate import evaluate
from oncoseg.prepare import Plan, open_store, prepare
from oncoseg.read import find, read_case, read_label
from oncoseg.write import write_volume

GRID = Grid((16, 16, 8), np.eye(4))


def numbered(count):
    """So many cells of a voxel, numbered, with gaps between."""
    label = np.zeros((16, 16, 8), np.uint16)
    label[::2, ::2, ::2].flat[:count] = range(1, count + 1)
    return label


def written(folder, counts, beside="instances"):
    draw = np.random.default_rng(0)
    for case, count in counts.items():
        image = draw.normal(size=GRID.shape).astype(np.float32)
        write_volume(folder / "images" / f"{case}.nii.gz", image, GRID)
        write_volume(folder / beside / f"{case}.nii.gz", numbered(count), GRID)
    return folder


def test_each_number_is_one_more_of_the_same(tmp_path):
    data = written(tmp_path / "data", {"a": 40, "b": 3, "c": 25})
    prepare(data, tmp_path / "store")
    assert Plan.read(tmp_path / "store" / "plan.json").task.labels == {"instances": 1}
    shares = [case.read("label")[-1].mean() for case in open_store(tmp_path / "store")]
    assert shares[0] > shares[2] > shares[1] > 0
    case = read_case(find(data).sources[0], labels={"cell": 1})
    (label,) = case.labels.values()
    assert np.array_equal(label.array, numbered(40) > 0)
    assert np.array_equal(read_label(data / "instances" / "a.nii.gz").array, numbered(40))


def test_the_truth_is_one_region_unless_instances_are_asked_for(tmp_path):
    data = written(tmp_path / "data", {"a": 40, "b": 3})
    for case, count in (("a", 40), ("b", 3)):
        mask = (numbered(count) > 0).astype(np.uint8)
        write_volume(tmp_path / "out" / f"{case}.nii.gz", mask, GRID)
    found = evaluate(tmp_path / "out", data, metrics=["dice"])
    assert {row.region for row in found.rows} == {"1"}
    assert found.mean("1", "dice") == 1
    apart = evaluate(tmp_path / "out", data, metrics=["panoptic_quality"], instances=True)
    assert apart.mean("instances", "panoptic_quality") < 0.5  # one instance for all


def test_numbers_that_nobody_named_are_not_taken_for_classes(tmp_path):
    data = written(tmp_path / "data", {"a": 40, "b": 3}, beside="labels")
    with pytest.raises(BadData, match=r"hold 1 to N, with N from 3 to 40, .* a folder 'instances'"):
        prepare(data, tmp_path / "store")
    same = written(tmp_path / "same", {"a": 40, "b": 40}, beside="labels")
    prepare(same, tmp_path / "organs")
    assert len(open_store(tmp_path / "organs")) == 2


def test_of_many_unusable_cases_some_are_named_and_all_counted(tmp_path):
    data = written(tmp_path / "data", {f"c{place}": 3 for place in range(8)}, beside="labels")
    with pytest.raises(BadData, match="8 of 8 cases cannot be used") as caught:
        prepare(data, tmp_path / "store", labels={"cell": 1})
    said = str(caught.value)
    assert said.count("which is not in the scheme") == 5
    assert said.endswith("; and 3 more")
    assert said.isprintable()
