"""Shape equals the reference values, and what is known of ellipsoids and of any closed surface."""

import numpy as np
import pytest

from ibsi import GRID, MASK, MORPHOLOGY, differing
from oncoseg import Grid
from oncoseg.blocks.marching_cubes import areas, fractions
from oncoseg.blocks.morphology import mesh, morphology, unit_of


def test_the_digital_phantom_has_the_reference_values():
    found = morphology(MASK, GRID)
    assert differing(found, MORPHOLOGY) == {}
    assert found.keys() == MORPHOLOGY.keys()


def test_no_name_is_without_the_right_unit():
    units = {unit_of(name) for name in MORPHOLOGY}
    assert units == {"mm", "mm²", "mm³", "1/mm", ""}
    assert unit_of("least axis length") == unit_of("maximum 3-D diameter") == "mm"
    assert unit_of("mesh volume") == "mm³"


def test_an_ellipsoid_on_an_anisotropic_grid():
    spacing, radii = np.array([0.5, 1, 2]), np.array([20.0, 15, 30])
    index = np.indices((100, 50, 40)).reshape(3, -1).T - [49.5, 24.5, 19.5]
    mask = (((index * spacing / radii) ** 2).sum(axis=1) <= 1).reshape(100, 50, 40)
    found = morphology(mask, Grid(mask.shape, np.diag([*spacing, 1])))
    assert found["mesh volume"] == pytest.approx(4 / 3 * np.pi * radii.prod(), rel=0.01)
    lengths = [found[f"{name} axis length"] for name in ("major", "minor", "least")]
    # Axes are those of 4 standard deviations: of an ellipsoid, 2 / sqrt(5) of its diameters.
    assert np.multiply(lengths, np.sqrt(5) / 2) == pytest.approx([60, 40, 30], rel=0.01)
    assert found["volume density (convex hull)"] > 0.95


def test_volume_and_area_do_not_depend_on_how_the_mask_lies():
    mask = np.pad(np.random.default_rng(0).random((9, 8, 7)) < 0.5, 1)
    grid = Grid(mask.shape, np.eye(4))
    expected = mesh(mask, grid)
    for turned in (mask[::-1], mask.transpose(2, 0, 1), mask.transpose(1, 0, 2)[:, ::-1]):
        assert mesh(turned, grid) == pytest.approx(expected, rel=0.01)


def test_what_a_cell_encloses():
    """A corner cuts off a tetrahedron, an edge a prism, a wall a half; the rest is the rest."""
    share = fractions()
    assert share[[1, 128]] == pytest.approx(1 / 48)
    assert share[0b11] == pytest.approx(1 / 8)
    assert share[0b1111] == pytest.approx(0.5)
    assert share[255] == 1
    fewer = [code for code in range(256) if code.bit_count() < 4]
    assert np.allclose(share[fewer] + share[[255 - code for code in fewer]], 1)
    assert areas((1.0, 1.0, 1.0))[1] == pytest.approx(np.sqrt(3) / 8)


@pytest.mark.parametrize("shape", [(1, 1, 1), (4, 1, 1), (3, 4, 1)])
def test_flat_and_single_voxels_have_no_number_that_is_none(shape):
    mask = np.pad(np.ones(shape, bool), 2)
    found = morphology(mask, Grid(mask.shape, np.diag([1.0, 2, 3, 1])))
    assert all(np.isfinite(value) for value in found.values())
    assert found["least axis length"] == 0
    assert "volume density (ellipsoid)" not in found
