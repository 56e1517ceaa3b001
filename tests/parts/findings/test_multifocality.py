import numpy as np
import pytest

from oncoseg import Case, Grid, Prediction, Task, build
from oncoseg.errors import BadOption


def measure(label, affine, **options):
    task = Task("t", ("mr",), {"a": 1}, {"a": ("a",)})
    empty = np.zeros((0, *label.shape), np.float16)
    grid = Grid(label.shape, np.asarray(affine, float))
    prediction = Prediction("c", task, grid, label.astype(np.uint8), empty, ("mr",))
    return build("findings", "multifocality", **options)(prediction, Case("c", "c", {}))


def told(section, lesion=None):
    chosen = [row for row in section["rows"] if row.get("lesion") == lesion]
    return {row["name"]: row["value"] for row in chosen}


def cubes(*corners, size=(6, 5, 4)):
    label = np.zeros((40, 40, 30))
    for corner in corners:
        label[tuple(slice(start, start + length) for start, length in zip(corner, size))] = 1
    return label


def test_gap_and_centres_are_exact_however_turned():
    label = cubes((2, 2, 2), (20, 20, 10))
    label[2, 2, 1] = 1  # so that the first is the larger one
    turn = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
    for frame in (np.eye(3), turn):
        affine = np.eye(4)
        affine[:3, :3] = frame @ np.diag([1, 2, 3])
        section = measure(label, affine)
        whole, second = told(section), told(section, "a 2")
        gap = np.linalg.norm([20 - 8, 2 * (20 - 7), 3 * (10 - 6)])
        assert whole["foci"] == 2
        assert whole["focality"] == "multifocal"
        assert whole["largest volume"] == pytest.approx(121 * 6 / 1000)
        assert second["volume"] == pytest.approx(120 * 6 / 1000)
        assert second["gap"] == whole["largest gap"] == pytest.approx(gap)
        first = (np.array([4.5, 4, 3.5]) * 120 + [2, 2, 1]) / 121
        ways = (np.array([22.5, 22, 11.5]) - first) * [1, 2, 3]
        assert second["between centres"] == pytest.approx(np.linalg.norm(ways))


@pytest.mark.parametrize(("gap", "kind"), [(4, "unifocal"), (5, "multifocal")])
def test_foci_are_told_apart_by_the_gap_and_the_largest_of_them_counts(gap, kind):
    near = cubes((2, 2, 2), (2, 2 + 5 + 1, 2), (2, 2, 2 + 4 + gap))
    section = measure(near, np.eye(4))
    assert told(section)["foci"] == 3
    assert told(section)["focality"] == kind
    assert told(section)["largest gap"] == gap


def test_small_parts_are_no_foci():
    label = cubes((2, 2, 2))
    label[30, 30, :25] = label[31, 31, :25] = label[30, 30, 10:25] = 1
    section = measure(label, np.diag([1, 1, 2, 1]))  # 240 and 100 mm³
    assert told(section)["foci"] == 2
    assert told(measure(label, np.diag([1, 1, 1.9, 1])))["foci"] == 1
    assert "largest gap" not in told(measure(label, np.diag([1, 1, 1.9, 1])))
    only = measure(label, np.diag([1, 1, 0.5, 1]))
    assert told(only) == {"foci": 0}
    assert only["notes"] == [
        "No part of a is as large as a focus, so its focality is not assessed."
    ]
    assert told(measure(label, np.diag([1, 1, 1.9, 1]), smallest=0.05))["foci"] == 2
    with pytest.raises(BadOption, match=r"takes 0\.05 ml or more, not 0\.01"):
        measure(label, np.eye(4), smallest=0.01)


def test_an_empty_region_has_no_foci():
    section = measure(np.zeros((9, 9, 9)), np.eye(4))
    assert told(section) == {"foci": 0}
    assert section["notes"] == []
