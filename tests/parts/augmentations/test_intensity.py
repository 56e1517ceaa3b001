"""Intensity: geometry and labels stay, values change within reason."""

import torch

from oncoseg import registry
from worlds import make_batch, regions_task

TASK = regions_task(3, 16)


def test_labels_stay_and_air_stays_zero():
    batch = make_batch(TASK)
    image = batch.image.clone()
    image[:, :, :4] = 0
    torch.manual_seed(0)
    result = registry.build("augmentations", "intensity:strength=5", TASK)(batch.but(image=image))
    assert torch.equal(result.label, batch.label)
    assert not result.image[:, :, :4].any()
    assert not torch.allclose(result.image, image)


def test_strength_zero_changes_nothing():
    batch = make_batch(TASK)
    assert torch.equal(
        registry.build("augmentations", "intensity:strength=0", TASK)(batch).image, batch.image
    )


def test_gamma_keeps_order_and_range():
    augment = registry.build("augmentations", "intensity", TASK)
    values = torch.linspace(-2, 3, 4096).view(1, 1, 16, 16, 16)
    torch.manual_seed(0)
    for _ in range(4):
        curve = augment._gamma(values).flatten()
        assert (curve.diff() >= -1e-6).all()
        assert torch.allclose(curve[[0, -1]], values.flatten()[[0, -1]], atol=1e-4)
