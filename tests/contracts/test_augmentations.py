"""What every registered augmentation must do."""

import pytest
import torch

from oncoseg import registry
from oncoseg.blocks.crop import centre
from worlds import make_batch, regions_task

TASK = regions_task(3, 24)
ALWAYS = {
    "spatial": "spatial:probability=1",
    "modality_dropout": "modality_dropout:probability=1",
    "freetumor": "freetumor:probability=1",
    "intensity": "intensity:strength=4",
    "tumour_synthesis": "tumour_synthesis:probability=1,smallest=4,largest=6",
    "watershed": "watershed:probability=1",
}
every = pytest.mark.parametrize(
    "spelled", [ALWAYS.get(name, name) for name in registry.names("augmentations")]
)


@every
def test_shapes_kinds_and_ranges_are_kept_and_the_input_is_untouched(spelled):
    augment = registry.build("augmentations", spelled, TASK)
    batch = make_batch(TASK, margin=getattr(augment, "margin", 1.0))
    before = {
        name: getattr(batch, name).clone() for name in ("image", "present", "label", "weight")
    }
    torch.manual_seed(0)
    result = centre(augment(batch), TASK.patch)
    for name, value in before.items():
        assert torch.equal(getattr(batch, name), value), name
        after = getattr(result, name)
        assert after.shape == (*value.shape[:2], *TASK.patch), name
        assert after.dtype == value.dtype, name
    assert torch.isfinite(result.image).all()
    assert float(result.label.min()) >= 0
    assert float(result.label.max()) <= 1 + 1e-6


@every
def test_the_seed_decides(spelled):
    augment = registry.build("augmentations", spelled, TASK)
    batch = make_batch(TASK, margin=getattr(augment, "margin", 1.0))
    results = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        results.append(augment(batch))
    assert torch.equal(results[0].image, results[1].image)
    assert not torch.equal(results[0].image, results[2].image)


@every
def test_what_is_not_present_stays_zero(spelled):
    augment = registry.build("augmentations", spelled, TASK)
    batch = make_batch(TASK, margin=getattr(augment, "margin", 1.0))
    present = batch.present.clone()
    present[:, 1] = False
    torch.manual_seed(3)
    result = augment(batch.but(present=present, image=batch.image * present))
    assert not result.present[:, 1].any()
    assert not result.image[:, 1].any()
