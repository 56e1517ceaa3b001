"""Grids in every orientation that tests share."""

from itertools import permutations, product

import numpy as np

from oncoseg.case import Grid

ORIENTATIONS = [
    (order, signs) for order in permutations(range(3)) for signs in product((1, -1), repeat=3)
]


def oriented(shape, spacing, order, signs, origin=(5.0, -7.0, 11.0), tilt=0.0):
    """A grid whose voxel axes run along RAS axes `order` with `signs`, turned by `tilt` about z."""
    linear = np.zeros((3, 3))
    for axis, (world, sign) in enumerate(zip(order, signs)):
        linear[world, axis] = sign * spacing[axis]
    turn = np.eye(3)
    turn[:2, :2] = [[np.cos(tilt), -np.sin(tilt)], [np.sin(tilt), np.cos(tilt)]]
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = turn @ linear, origin
    return Grid(tuple(shape), affine)
