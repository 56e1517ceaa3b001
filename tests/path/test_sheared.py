"""Grids whose axes are not at right angles: resampled and measured by their true geometry."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from oncoseg import registry
from oncoseg.case import Case, Grid, Task, Volume
from oncoseg.evaluate import evaluate
from oncoseg.findings.diameters import Diameters
from oncoseg.findings.volumes import Volumes
from oncoseg.predict import segment
from oncoseg.prepare.align import covered, resample, working_grid
from oncoseg.prepare.plan import Normalisation, Plan
from oncoseg.write import write_volume

TASK = Task("t", ("a",), {"x": 1}, {"x": ("x",)}, (1.0,) * 3, (16,) * 3, ((2, 2, 2),))
CENTRE, RADIUS = np.array([3.0, -4.0, 5.0]), 11.0


def tilted(degrees, spacing=(1.0, 1.0, 2.0), shape=(44, 48, 24)):
    """A scan with a tilted gantry: slices at right angles, each shifted along the columns."""
    affine = np.diag([*spacing, 1.0])
    affine[0, 0] *= -1
    affine[1, 2] = spacing[2] * np.tan(np.radians(degrees))
    affine[:3, 3] = CENTRE - affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    return Grid(shape, affine)


def places(grid):
    """The millimetres of each voxel (3, *S)."""
    index = np.indices(grid.shape).reshape(3, -1)
    there = grid.affine[:3, :3] @ index + grid.affine[:3, 3:]
    return there.reshape(3, *grid.shape)


def ball(grid):
    """Signed distance in mm to a sphere, above 0 inside."""
    return RADIUS - np.linalg.norm(places(grid) - CENTRE[:, None, None, None], axis=0)


@pytest.mark.parametrize("degrees", [-30, -7, 12, 25])
def test_a_working_grid_is_at_right_angles_and_holds_the_whole_scan(degrees):
    grid = tilted(degrees)
    assert grid.sheared
    upright = working_grid(grid)
    assert not upright.sheared
    assert np.allclose(upright.spacing, (1, 1, 2))  # slices are 2 mm apart along their normal
    corners = np.array(np.meshgrid(*[(0, size - 1) for size in grid.shape])).reshape(3, -1)
    index = np.linalg.inv(upright.affine) @ grid.affine @ np.vstack([corners, np.ones(8)])
    assert (index[:3].min(axis=1) > -0.01).all()
    assert (index[:3].max(axis=1) < np.array(upright.shape) - 0.99).all()


@pytest.mark.parametrize("degrees", [-30, 12, 25])
def test_a_field_that_is_linear_in_space_is_resampled_exactly(degrees):
    """Linear interpolation makes no error in it, so any error would be one of geometry."""
    grid = tilted(degrees)
    there = working_grid(grid, (1.3, 0.8, 1.7))
    weights = np.array([0.7, -1.1, 0.4])
    field = np.tensordot(weights, places(grid), 1)
    found = resample(field, grid, there)
    index = np.tensordot(np.linalg.inv(grid.affine)[:3, :3], places(there), 1)
    index += np.linalg.inv(grid.affine)[:3, 3].reshape(3, 1, 1, 1)
    inner = np.all(
        [(place >= 2) & (place <= size - 3) for place, size in zip(index, grid.shape)], axis=0
    )
    assert inner.mean() > 0.3
    assert np.abs(found - np.tensordot(weights, places(there), 1))[inner].max() < 1e-3
    assert (covered(grid, there) | ~inner).all()


@pytest.mark.parametrize("degrees", [-20, 20])
def test_a_sphere_comes_back_on_the_sheared_grid_with_its_size(degrees):
    grid = tilted(degrees)
    volume = Volume(ball(grid).astype(np.float32), grid, Path("a"))
    plain = {"a": Normalisation("dataset", -1e3, 1e3, 0.0, 1.0)}

    def inside(image, present):
        return np.concatenate([-image[:, :1], image[:, :1]], axis=1) * 10

    case = Case("c", "c", {"a": volume})
    found = segment(case, Plan(replace(TASK, spacing=(1.0,) * 3), plain), inside)
    assert found.grid.same_as(grid)
    truth = ball(grid) > 0
    assert (found.masks["x"] != truth).sum() < 0.025 * truth.sum()  # slices are 2 mm thick
    assert (np.abs(ball(grid))[found.masks["x"] != truth] < 0.5).all()
    millilitres = 4 / 3 * np.pi * RADIUS**3 / 1000
    assert Volumes()(found, case)["rows"][0]["value"] == pytest.approx(millilitres, rel=0.03)
    longest = Diameters()(found, case)["rows"][-1]["value"]
    assert 2 * RADIUS - 1 < longest < 2 * RADIUS + 3  # between outer corners of voxels


def test_distances_on_a_sheared_grid_are_refused_volumes_are_right(tmp_path):
    grid = tilted(30)
    label = (ball(grid) > 0).astype(np.uint8)
    for folder, values in (("out", label), ("truth", np.roll(label, 1, axis=0) * label)):
        write_volume(tmp_path / folder / "a.nii.gz", values, grid)
    told = evaluate(tmp_path / "out", tmp_path / "truth", samples=0)
    assert (
        told.failed["a"]
        == "undefined: on a grid whose axes are not at right angles hd95, nsd cannot be measured"
    )
    assert all(np.isnan(told.mean("1", name)) for name in ("hd95", "nsd"))
    rows = evaluate(
        tmp_path / "out", tmp_path / "truth", metrics=("dice", "volume_difference"), samples=0
    ).rows
    voxels = int(label.sum()) - int((np.roll(label, 1, axis=0) * label).sum())
    assert rows[1].value == pytest.approx(voxels * 2.0 / 1000)  # the base area times the height


def measured(metric, spacing):
    rng = np.random.default_rng(0)
    return metric(*(rng.random((9, 8, 7)) > 0.6 for _ in range(2)), spacing)


@pytest.mark.parametrize("name", registry.names("metrics"))
def test_what_does_not_measure_distances_reads_the_product_of_the_spacing_alone(name):
    """This is why it is right on sheared grids, given a spacing of the same volume."""
    metric = registry.build("metrics", name)
    if not metric.distances:
        several = [measured(metric, spacing) for spacing in ((1, 1, 6.0), (2, 3, 1.0), (6, 0.5, 2))]
        assert several == pytest.approx([several[0]] * 3, nan_ok=True)


@pytest.mark.parametrize("name", ["hd95", "nsd"])
def test_what_measures_distances_says_so(name):
    metric = registry.build("metrics", name)
    assert metric.distances
    assert measured(metric, (1, 1, 6.0)) != pytest.approx(measured(metric, (2, 3, 1.0)))
