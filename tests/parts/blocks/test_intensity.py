"""Intensities, bins and where values lie: equal to what was published of the digital phantom."""

import numpy as np
import pytest
from scipy.spatial.distance import pdist, squareform

from ibsi import (
    GRID,
    HISTOGRAM,
    LEVELS,
    MASK,
    PEAKS,
    SPATIAL,
    STATISTICS,
    VOLUME_HISTOGRAM,
    differing,
)
from oncoseg import Grid
from oncoseg.blocks.discretise import levels, resegmented
from oncoseg.blocks.intensity import histogram, peaks, spatial, statistics, volume_histogram
from oncoseg.blocks.morphology import morphology
from oncoseg.errors import BadData


def test_the_digital_phantom_has_the_reference_values():
    found = levels(LEVELS, MASK, width=1).values
    volume = morphology(MASK, GRID)["mesh volume"]
    assert differing(statistics(LEVELS[MASK]), STATISTICS) == {}
    assert differing(histogram(found), HISTOGRAM) == {}
    assert differing(volume_histogram(found), VOLUME_HISTOGRAM) == {}
    assert differing(peaks(LEVELS, MASK, GRID), PEAKS) == {}
    assert differing(spatial(LEVELS, MASK, volume, GRID), SPATIAL) == {}


def test_spatial_indices_are_sums_over_all_pairs_also_on_a_sheared_grid():
    rng = np.random.default_rng(0)
    image, mask = rng.normal(size=(6, 5, 4)), rng.random((6, 5, 4)) < 0.6
    affine = np.array([[1, 0.5, 0.1, 0], [0, 2, 0, 0], [0, 0, 3, 0], [0, 0, 0, 1]])
    weight = squareform(1 / pdist(np.argwhere(mask) @ affine[:3, :3].T))
    values = image[mask]
    apart = values - values.mean()
    scale = weight.sum() * np.square(apart).sum()
    found = spatial(image, mask, 1.0, Grid(mask.shape, affine))
    moran = len(values) * (weight * np.outer(apart, apart)).sum() / scale
    geary = (weight * np.subtract.outer(values, values) ** 2).sum() / scale
    assert found["Moran's I"] == pytest.approx(moran)
    assert found["Geary's C"] == pytest.approx((len(values) - 1) / 2 * geary)


def test_a_peak_is_the_mean_of_a_sphere_that_ends_at_the_image():
    image = np.zeros((30, 30, 30))
    image[15, 15, 15] = image[0, 0, 0] = 1.0
    grid = Grid(image.shape, np.eye(4))
    lags = np.indices(image.shape).reshape(3, -1)
    inside = (np.linalg.norm(lags - 15, axis=0) <= 6.2035).sum()
    corner = (np.linalg.norm(lags, axis=0) <= 6.2035).sum()
    mask = np.zeros(image.shape, bool)
    mask[15, 15, 15] = True
    assert peaks(image, mask, grid)["local intensity peak"] == pytest.approx(1 / inside)
    mask[0, 0, 0] = True
    assert peaks(image, mask, grid)["local intensity peak"] == pytest.approx(1 / corner)


def test_bins_of_one_width_or_of_one_number():
    image = np.array([[-10.0, 0, 9.9, 10, 24.9, 25, 100]])
    mask = np.array([[True] * 6 + [False]])
    assert levels(image, mask, width=25).values.tolist() == [1, 1, 1, 1, 2, 2]
    assert levels(image, mask, width=25, low=-50).values.tolist() == [2, 3, 3, 3, 3, 4]
    assert levels(image, mask, bins=7).values.tolist() == [1, 3, 4, 5, 7, 7]
    assert levels(image * 0, mask, bins=7).values.tolist() == [1] * 6
    with pytest.raises(BadData, match="more than 1000"):
        levels(image, mask, width=1e-3)
    with pytest.raises(BadData, match="bins start at 0"):
        levels(image, mask, width=1, low=0)


def test_resegmentation_keeps_what_is_in_range_and_no_outlier():
    image = np.array([*np.linspace(-1, 1, 99), 50, np.nan, 3, 7])
    mask = np.ones(image.shape, bool)
    mask[-1] = False
    assert np.isfinite(image[resegmented(image, mask)]).all()
    assert resegmented(image, mask).sum() == 101
    assert resegmented(image, mask, low=-1, high=3).sum() == 100
    assert not resegmented(image, mask, sigmas=3)[99]
    assert not resegmented(image, mask, low=100).any()


def test_a_flat_region_has_no_spread_and_nothing_divides_by_it():
    found = statistics(np.zeros(5))
    assert found["variance"] == found["skewness"] == found["excess kurtosis"] == 0
    assert "coefficient of variation" not in found
    assert "quartile coefficient of dispersion" not in found
    assert volume_histogram(np.ones(5, int)) == {}
    assert histogram(np.ones(5, int))["entropy"] == 0
    assert "maximum gradient" not in histogram(np.ones(5, int))
