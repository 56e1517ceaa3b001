"""Padding and its cut undo one another, and maps come back at the size of their image."""

import pytest
import torch

from oncoseg.blocks.resize import doubled, enlarged, fitted, padded, resized


@pytest.mark.parametrize(("shape", "whole"), [((5, 8), (8, 8)), ((3, 4, 9), (4, 4, 12))])
def test_what_is_padded_is_a_multiple_and_is_cut_to_what_it_was(shape, whole):
    image = torch.randn(2, 1, *shape)
    found = padded(image, 4)
    assert found.shape[2:] == whole
    assert found.sum() == pytest.approx(float(image.sum()), abs=1e-4)
    assert torch.equal(fitted(found, image), image)
    assert padded(found, 4) is found
    assert fitted(image, image) is image


def test_a_step_an_axis_and_more_than_one_step_where_several_are_asked_for():
    image = torch.zeros(1, 1, 5, 3)
    assert padded(image, (4, 2)).shape[2:] == (8, 4)
    assert padded(image, 8).shape[2:] == (8, 8)
    assert padded(image, 8, several=True).shape[2:] == (8, 16)
    assert padded(torch.zeros(1, 1, 9, 3), 8, several=True).shape[2:] == (16, 8)


@pytest.mark.parametrize("dims", [2, 3])
def test_a_ramp_stays_a_ramp(dims):
    ramp = torch.arange(8.0).view(1, 1, 8, *[1] * (dims - 1)).expand(1, 1, *(8,) * dims)
    found = resized(ramp, (16,) * dims)
    assert torch.equal(found, doubled(ramp))
    assert torch.allclose(found.flatten(3)[0, 0, 1:-1, 0].diff(), torch.tensor(0.5))
    assert resized(ramp, (8,) * dims) is ramp
    ends = doubled(ramp, corners=True).flatten(3)[0, 0, :, 0]
    assert torch.allclose(ends, torch.linspace(0, 7, 16), atol=1e-5)


def test_a_map_of_a_padded_image_lies_where_the_image_does():
    image = torch.randn(1, 1, 13, 8)
    coarse = torch.nn.functional.avg_pool2d(padded(image, 8), 4)
    found = enlarged(coarse, image, 8)
    assert found.shape == image.shape
    assert torch.equal(found, resized(coarse, (16, 8))[:, :, :13])
