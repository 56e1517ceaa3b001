"""Skeletons: the topology of the mask exactly, one voxel thin, in the middle, anywhere alike."""

import numpy as np
import pytest
from scipy import ndimage

from oncoseg.blocks.skeleton import PLACES, simple, skeleton

SHAPES = {2: (44, 50), 3: (26, 24, 22)}


def tube(dims, seed):
    """A bent tube of one to four voxels' radius."""
    generator = np.random.default_rng(seed)
    points = generator.uniform(0.15, 0.85, (4, dims)) * SHAPES[dims]
    t = np.linspace(0, 1, 300)[:, None]
    weights = ((1 - t) ** 3, 3 * (1 - t) ** 2 * t, 3 * (1 - t) * t**2, t**3)
    places = sum(weight * point for weight, point in zip(weights, points))
    outside = np.ones(SHAPES[dims], bool)
    outside[tuple(places.round().astype(int).T)] = False
    return ndimage.distance_transform_edt(outside) <= 1 + seed % 4


def noise(dims, seed):
    """Blobs with holes and cavities, which reach the edge of the image."""
    field = np.random.default_rng(seed).standard_normal(SHAPES[dims])
    field = ndimage.gaussian_filter(field, 0.8 + 0.6 * (seed % 4))
    return field > np.quantile(field, (0.4, 0.6, 0.8)[seed % 3])


def solid(dims, name):
    index = np.indices(SHAPES[dims]) - np.reshape(SHAPES[dims], (dims,) + (1,) * dims) / 2
    radius = np.sqrt((index**2).sum(axis=0))
    box = np.abs(index).max(axis=0) < 8
    return {
        "ball": radius < 9,
        "shell": (radius < 10) & (radius > 6),
        "ring": box & (np.abs(index[:2]).max(axis=0) > 3),
        "even box": np.abs(index + 0.5).max(axis=0) < 6,
        "plate": box & (np.abs(index[0]) < 1),
        "one": radius == radius.min(),
        "full": radius >= 0,
        "none": radius < 0,
    }[name]


SOLIDS = ("ball", "shell", "ring", "even box", "plate", "one", "full", "none")
MASKS = [
    (dims, made, one)
    for dims in (2, 3)
    for made, ones in ((tube, range(16)), (noise, range(18)), (solid, SOLIDS))
    for one in ones
]
every = pytest.mark.parametrize(("dims", "made", "one"), MASKS)


def topology(mask):
    """Components, those of the outside, and the Euler number of voxels as closed cubes."""
    padded = np.pad(mask, 1)
    inside = ndimage.label(mask, np.ones((3,) * mask.ndim))[1]
    cells = 0
    for corners in np.ndindex((2,) * mask.ndim):  # 0: whole along that axis, 1: between two voxels
        touched = padded
        for axis in np.flatnonzero(corners):
            behind = [slice(None)] * mask.ndim
            ahead = [slice(None)] * mask.ndim
            behind[axis], ahead[axis] = slice(None, -1), slice(1, None)
            touched = touched[tuple(behind)] | touched[tuple(ahead)]
        cells += (-1) ** (mask.ndim - sum(corners)) * np.count_nonzero(touched)
    return inside, ndimage.label(~padded)[1], cells


def neighbourhoods(mask):
    """The 3x3x3 around each voxel of a mask, as a number."""
    solid = np.pad(mask.reshape((1,) * (3 - mask.ndim) + mask.shape), 1)
    code = np.zeros(np.count_nonzero(mask), np.int32)
    for bit, step in enumerate(PLACES - 1):
        if step.any():
            code |= np.roll(solid, -step, (0, 1, 2))[solid].astype(np.int32) << bit
    return code


@every
def test_the_topology_is_kept_exactly(dims, made, one):
    mask = made(dims, one)
    found = skeleton(mask)
    assert not (found & ~mask).any()
    assert topology(found) == topology(mask)


@every
def test_it_is_thin_nothing_but_ends_could_go(dims, made, one):
    code = neighbourhoods(skeleton(made(dims, one)))
    several = (code & (code - 1)) != 0
    assert not simple(code[several]).any()


@every
def test_it_lies_in_the_middle(dims, made, one):
    """As deep as the voxels around it, but for one."""
    mask = made(dims, one)
    found = skeleton(mask)
    if made is tube:
        depth = ndimage.distance_transform_edt(np.pad(mask, 1))[(slice(1, -1),) * dims]
        deepest = ndimage.maximum_filter(depth, 3)
        assert (depth[found] >= deepest[found] - 1.5).mean() > 0.95
        ends = ndimage.distance_transform_edt(~found)[mask]
        assert ends.max() <= 2.5 * depth.max() + 1  # no part of the tube is without


@every
def test_it_is_the_same_wherever_the_mask_lies(dims, made, one):
    mask = made(dims, one)
    moved = np.zeros([size + 3 for size in mask.shape], bool)
    moved[(slice(1, -2),) * dims] = mask
    assert np.array_equal(skeleton(moved)[(slice(1, -2),) * dims], skeleton(mask))
    kept = mask.copy()
    skeleton(mask)
    assert np.array_equal(mask, kept)


def test_simple_is_as_defined():
    """Each neighbourhood looked at by itself: components with the centre, and without it."""
    generator = np.random.default_rng(0)
    for share in (0.15, 0.3, 0.5, 0.7, 0.85):
        around = generator.random((400, 3, 3, 3)) < share
        around[:, 1, 1, 1] = False
        code = (around.reshape(-1, 27) * (1 << np.arange(27))).sum(axis=1).astype(np.int32)
        nearest = ndimage.generate_binary_structure(3, 2)
        for one, found in zip(around, simple(code)):
            inside = ndimage.label(one, np.ones((3, 3, 3)))[1]
            outside = ndimage.label(~one & nearest & (np.indices((3, 3, 3)) != 1).any(axis=0))[0]
            beside = set(outside[ndimage.generate_binary_structure(3, 1)]) - {0}
            assert found == (inside == 1 and len(beside) == 1)


def test_a_straight_line_stays_and_a_rod_becomes_one():
    line = np.zeros((9, 9, 15), bool)
    line[4, 4, 2:13] = True
    assert np.array_equal(skeleton(line), line)
    rod = ndimage.binary_dilation(line, np.ones((3, 3, 1)))
    found = skeleton(rod)
    assert np.array_equal(found.any(axis=(0, 1)), line.any(axis=(0, 1)) & found.any(axis=(0, 1)))
    assert not (found & ~line).any()
    assert found.sum() >= 9
