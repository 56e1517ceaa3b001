"""Rings in millimetres on any spacing, clipped to body and other tumours; a halo is found there."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from oncoseg import Case, Grid, Prediction, Task, Volume, build
from oncoseg.blocks.rings import outline, rings
from oncoseg.errors import BadOption

RADIUS = 8.0
EDGES = (0, 2, 4, 6, 8, 10, 12)


def sphere(spacing=(0.5, 1, 2)):
    """Distance (mm) of every voxel from the middle of 46 mm or more, and their grid."""
    shape = tuple(int(np.ceil(46 / step)) for step in spacing)
    middle = (np.array(shape) - 1) / 2
    away = np.linalg.norm((np.indices(shape).T - middle) * spacing, axis=-1).T
    return away, Grid(shape, np.diag([*spacing, 1.0]))


def measure(label, grid, image=None, text="peritumoral_radiomics", regions=None):
    names = regions or {"tumour": ("tumour",)}
    labels = {name: value for value, name in enumerate(dict.fromkeys(sum(names.values(), ())), 1)}
    task = Task("t", ("ct",), labels, names, patch=(8,) * grid.dims)
    empty = np.zeros((0, *label.shape), np.float16)
    prediction = Prediction("c", task, grid, label.astype(np.uint8), empty, ("ct",))
    images = {} if image is None else {"ct": Volume(image, grid, Path("ct"))}
    return build("findings", text)(prediction, Case("c", "c", images))


def values(section, name, region="tumour"):
    """A feature of each ring, in their order."""
    return [
        row["value"]
        for row in section["rows"]
        if row["name"].endswith(f" mm {name}") and row["region"] == region
    ]


def test_rings_hold_every_voxel_at_their_distance_and_no_other():
    mask = np.random.default_rng(0).random((7, 6, 5)) < 0.05
    grid = Grid(mask.shape, np.diag([0.7, 1.0, 3.0, 1]))
    points = np.argwhere(np.ones_like(mask)) * grid.spacing
    away = cdist(points, np.argwhere(mask) * grid.spacing).min(axis=1).reshape(mask.shape)
    for ring, (low, high) in zip(rings(mask, grid, (0, 1, 3, 9)), pairwise((0, 1, 3, 9))):
        assert np.array_equal(ring, (away > low) & (away <= high))


@pytest.mark.parametrize("spacing", [(1, 1, 1), (0.5, 1, 2), (0.7, 0.7, 3)])
def test_a_sphere_grows_by_millimetres_whatever_the_spacing(spacing):
    away, grid = sphere(spacing)
    found = measure(away <= RADIUS, grid, text="peritumoral_radiomics:filled=true")
    radii = np.cbrt(np.multiply(values(found, "volume"), 1000) * 3 / (4 * np.pi))
    half = np.linalg.norm(spacing) / 2
    assert radii == pytest.approx(RADIUS + np.array(EDGES[1:]), abs=min(half, 0.75))


def test_filled_is_the_tumour_and_all_rings_so_far():
    away, grid = sphere()
    alone = measure(away <= RADIUS, grid)
    filled = measure(away <= RADIUS, grid, text="peritumoral_radiomics:filled=true")
    own = np.count_nonzero(away <= RADIUS) * grid.voxel_volume / 1000
    assert values(filled, "volume") == pytest.approx(own + np.cumsum(values(alone, "volume")))
    assert "with all within" in filled["method"]
    assert filled["rows"][0]["name"] == "0-2 mm volume"


def test_a_halo_is_found_in_its_rings_alone():
    away, grid = sphere()
    image = np.random.default_rng(0).normal(40, 1, grid.shape)
    image[(away > RADIUS + 4.5) & (away < RADIUS + 7.5)] += 30
    section = measure(away <= RADIUS, grid, image)
    means = np.array(values(section, "mean"))
    assert np.flatnonzero(means > 55).tolist() == [2, 3]  # 4-6 and 6-8 mm
    assert means[[0, 1, 5]] == pytest.approx(40, abs=0.5)
    assert "not clipped" in section["notes"][0]


def test_air_and_other_tumours_are_left_out_and_said():
    away, grid = sphere()
    image = np.full(grid.shape, 50.0)
    image[:, 33:] = -1000  # 10 mm from the middle, so 2 mm from the tumour
    section = measure(away <= RADIUS, grid, image)
    assert set(values(section, "minimum")) == {50.0}
    assert "lie outside of the body" in section["notes"][0]
    label = (away <= RADIUS).astype(np.uint8)
    label[:, 35:39] = 2
    regions = {"tumour": ("tumour",), "lymph node": ("node",), "liver": ("liver", "tumour", "node")}
    image = np.random.default_rng(0).normal(50, 1, grid.shape) + 90 * (label > 0)
    two = measure(label, grid, image, regions=regions)
    assert max(values(two, "maximum")) < 60
    assert max(values(two, "maximum", "lymph node")) < 60
    assert not values(two, "volume", "liver")


def test_the_ring_of_the_whole_tumour_lies_outside_of_all_of_it():
    away, grid = sphere()
    label = (away <= RADIUS).astype(np.uint8) + (away <= 3)
    section = measure(label, grid, regions={"WT": ("edema", "core"), "TC": ("core",)})
    assert {row["region"] for row in section["rows"]} == {"WT"}
    assert "No image is at hand" in section["notes"][0]


def test_lungs_are_body_and_the_air_around_it_is_not():
    image = np.full((40, 40, 12), -1000.0)
    image[6:34, 6:34] = 30
    image[10:18, 10:30] = -850  # a lung, open above
    image[12:14, 12:14, -1] = -1000
    inside = outline(image, Grid(image.shape, np.eye(4)))
    expected = np.zeros(image.shape, bool)
    expected[6:34, 6:34] = True
    assert np.array_equal(inside, expected)
    stripped = np.where(expected, 100.0, 0)
    stripped[20, 20, 5] = 0
    assert np.array_equal(
        outline(stripped.astype(np.int16), Grid(image.shape, np.eye(4))), expected
    )
    assert outline(np.full(image.shape, np.nan), Grid(image.shape, np.eye(4))).all()


def test_a_sheared_grid_is_not_measured():
    shear = np.array([[1, 0.5, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]])
    section = measure(np.pad(np.ones((3, 3, 3)), 4), Grid((11, 11, 11), shear))
    assert section["rows"] == []
    assert "not at right angles" in section["notes"][0]


def test_a_step_beyond_the_reach_is_refused():
    with pytest.raises(BadOption, match="step"):
        build("findings", "peritumoral_radiomics:reach=4,step=5")
