"""Textures equal every published value of the digital phantom, in space and slice by slice."""

import numpy as np
import pytest
from scipy import ndimage

from ibsi import GLCM, GLDZM, GLRLM, GLSZM, LEVELS, MASK, NGLDM, NGTDM, differing
from oncoseg.blocks.discretise import Levels, levels
from oncoseg.blocks.texture_glcm import glcm
from oncoseg.blocks.texture_glrlm import glrlm
from oncoseg.blocks.texture_neighbours import ngldm, ngtdm
from oncoseg.blocks.texture_zones import depth, gldzm, glszm, zones

PHANTOM = levels(LEVELS, MASK, width=1)


def size_zones(one):
    return glszm(zones(one))


def distance_zones(one):
    return gldzm(zones(one), depth(one.padded > 0).ravel()[one.inside])


FAMILIES = [(size_zones, GLSZM), (distance_zones, GLDZM), (ngtdm, NGTDM), (ngldm, NGLDM)]


def column(table, place):
    return {name: values[place] for name, values in table.items()}


def mean(found):
    return {name: np.mean([one[name] for one in found]) for name in found[0]}


@pytest.mark.parametrize(("family", "table"), [(glcm, GLCM), (glrlm, GLRLM)])
def test_directions_in_space_and_in_slices(family, table):
    assert differing(family(PHANTOM), column(table, 0)) == {}
    assert differing(family(PHANTOM, merged=True), column(table, 1)) == {}
    assert differing(mean([family(one) for one in PHANTOM.slices()]), column(table, 2)) == {}


@pytest.mark.parametrize(("family", "table"), FAMILIES)
def test_zones_and_neighbours_in_space_and_in_slices(family, table):
    assert differing(family(PHANTOM), column(table, 0)) == {}
    assert differing(mean([family(one) for one in PHANTOM.slices()]), column(table, 1)) == {}


def test_six_bins_are_the_grey_levels_of_the_phantom():
    assert np.array_equal(levels(LEVELS, MASK, bins=6).padded, PHANTOM.padded)


def test_zones_are_those_of_each_level_labelled_by_itself():
    rng = np.random.default_rng(0)
    padded = np.pad(rng.integers(0, 4, (9, 8, 7)), 1)
    one = Levels(padded, 3)
    zone, level = zones(one)
    for value in range(1, 4):
        labelled, count = ndimage.label(padded == value, np.ones((3, 3, 3)))
        assert (level == value).sum() == count
        mine, theirs = zone[one.values == value], labelled.ravel()[one.inside[one.values == value]]
        assert len(set(zip(mine.tolist(), theirs.tolist()))) == count


def test_a_turned_region_has_the_same_texture():
    image = np.random.default_rng(1).normal(size=(8, 9, 10))
    mask = np.indices(image.shape).sum(axis=0) % 5 > 0
    one, other = levels(image, mask, bins=8), levels(image.T[::-1], mask.T[::-1], bins=8)
    for family in (glcm, glrlm, ngtdm, ngldm, size_zones):
        assert family(one) == pytest.approx(family(other))


@pytest.mark.parametrize("shape", [(1, 1, 1), (4, 1, 1), (3, 4, 1), (1, 1), (4, 3)])
@pytest.mark.parametrize("flat", [True, False])
def test_no_feature_is_no_number(shape, flat):
    image = np.zeros(shape) if flat else np.arange(np.prod(shape), dtype=float).reshape(shape)
    one = levels(image, np.ones(shape, bool), bins=4)
    for family in (glcm, glrlm, ngtdm, ngldm, size_zones):
        assert all(np.isfinite(value) for value in family(one).values())
    assert bool(glcm(one)) == bool(ngtdm(one)) == (np.prod(shape) > 1)
