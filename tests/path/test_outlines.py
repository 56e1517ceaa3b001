"""Outlines of pixels: closed rings along their edges, which enclose the mask and nothing else."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from oncoseg.write.outlines import outlines


def winding(rings, shape):
    """How often each pixel's centre is gone round, by every ring together."""
    turns = np.zeros(shape, int)
    for ring in rings:
        for (x, y), (u, v) in zip(ring, ring[1:] + ring[:1]):
            assert x == u or y == v
            if x == u:
                turns[min(y, v) : max(y, v), x:] += 1 if v < y else -1
    return turns


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 14), st.integers(1, 14), st.floats(0.1, 0.95))
def test_outlines_enclose_the_mask_and_its_area(seed, rows, columns, share):
    mask = np.random.default_rng(seed).random((rows, columns)) < share
    rings = outlines(mask)
    assert (winding(rings, mask.shape) == mask).all()
    for ring in rings:
        assert len(ring) >= 4
    assert len(rings) == ndimage.label(mask)[1]
