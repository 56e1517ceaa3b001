"""Smoothing is the separable Gaussian that scipy has."""

import pytest
import torch
from scipy import ndimage

from oncoseg.blocks.noise import blur


@pytest.mark.parametrize("shape", [(9, 14), (9, 14, 11), (2, 30, 5)])
@pytest.mark.parametrize("sigma", [0.1, 0.5, 1.2, 2.0])
def test_it_is_the_gaussian_of_each_axis(shape, sigma):
    image = torch.randn(2, 1, *shape, generator=torch.Generator().manual_seed(0))
    sigmas = [sigma, 0.7, 1.1][: len(shape)]
    expected = image.numpy()
    for axis, each in enumerate(sigmas, start=2):
        if each >= 0.2:
            radius = max(1, round(3 * each))
            expected = ndimage.gaussian_filter1d(
                expected, each, axis, mode="constant", radius=radius
            )
    kept = image.clone()
    torch.testing.assert_close(blur(image, sigmas), torch.from_numpy(expected))
    assert torch.equal(image, kept)


def test_a_gradient_goes_through_it():
    image = torch.randn(1, 1, 5, 6, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda values: blur(values, [1.0, 0.6]), image)
