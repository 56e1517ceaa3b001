"""Spatial: image and label move together, in millimetres."""

import pytest
import torch

from oncoseg import registry
from worlds import make_batch, regions_task

TASK = regions_task(3, 24)


def test_image_and_label_move_together():
    augment = registry.build("augmentations", "spatial:probability=1,elastic=3", TASK)
    batch = make_batch(TASK, margin=1.25)
    batch = batch.but(image=batch.label[:, -1:].expand_as(batch.image).clone())
    torch.manual_seed(0)
    result = augment(batch)
    assert torch.allclose(result.image[:, 0], result.label[:, -1], atol=1e-5)
    assert float(result.label[:, -1].sum()) > 0


def test_nothing_asked_is_the_middle_of_the_patch():
    augment = registry.build("augmentations", "spatial:probability=0,flip=false", TASK)
    batch = make_batch(TASK, margin=1.25)
    assert torch.equal(augment(batch).image, batch.image[:, :, 3:27, 3:27, 3:27])


def test_identity_resampling_is_exact_and_rotation_keeps_volume():
    still = registry.build(
        "augmentations", "spatial:probability=1,degrees=0,scale=1,elastic=0,flip=false", TASK
    )
    batch = make_batch(TASK, margin=1.25)
    assert torch.allclose(still(batch).image, batch.image[:, :, 3:27, 3:27, 3:27], atol=1e-4)
    turned = registry.build(
        "augmentations", "spatial:probability=1,degrees=20,scale=1,elastic=0,flip=false", TASK
    )
    torch.manual_seed(0)
    before, after = still(batch).label[:, 0].sum(), turned(batch).label[:, 0].sum()
    assert abs(float(after / before) - 1) < 0.1


def test_outside_the_scan_has_no_weight():
    augment = registry.build(
        "augmentations", "spatial:probability=1,degrees=45,scale=1,elastic=0", TASK
    )
    batch = make_batch(TASK)
    torch.manual_seed(1)
    result = augment(batch)
    assert float(result.weight.min()) == 0
    assert not result.image[~result.present].any()


@pytest.mark.parametrize("dims", [2, 3])
def test_nobody_comes_upside_down(dims):
    task = regions_task(dims, 16)
    augment = registry.build("augmentations", "spatial:probability=0", task)
    batch = make_batch(task)
    seen = set()
    for seed in range(40):
        torch.manual_seed(seed)
        moved = augment(batch).image[0]
        for axes in ((), (1,), (2,), (1, 2)):
            if torch.equal(moved, batch.image[0].flip(axes)):
                seen.add(axes)
    assert seen == ({(), (1,)} if dims == 3 else {(), (1,), (2,), (1, 2)})


def test_what_has_no_weight_is_not_mixed_into_what_has():
    augment = registry.build("augmentations", "spatial:probability=1", TASK)
    batch = make_batch(TASK, margin=1.25)
    weight = torch.zeros_like(batch.weight)
    weight[:, :, 8:22, 8:22, 8:22] = 1
    label = torch.where(weight > 0, batch.label * 0, torch.ones(1)).expand_as(batch.label)
    torch.manual_seed(0)
    moved = augment(batch.but(weight=weight, label=label))
    assert (moved.weight > 0.5).any()
    assert float((moved.label * (moved.weight > 0)).max()) < 2e-3


def test_one_mask_for_all_is_the_same_as_each_its_own():
    augment = registry.build("augmentations", "spatial:probability=1,elastic=3,flip=false", TASK)
    batch = make_batch(TASK, margin=1.25)
    whole = batch.but(present=torch.ones_like(batch.present), weight=torch.ones_like(batch.weight))
    holed = torch.ones_like(batch.present)
    holed[:, -1, 0, 0, 0] = False  # a voxel in a corner, of one modality
    torch.manual_seed(0)
    one = augment(whole)
    torch.manual_seed(0)
    each = augment(whole.but(present=holed))
    for name in ("label", "weight"):
        assert torch.allclose(getattr(one, name), getattr(each, name), atol=1e-5)
    assert torch.equal(one.present[:, 0], each.present[:, 0])
    assert torch.allclose(one.image[:, 0], each.image[:, 0], atol=1e-5)


def test_a_channel_of_zeros_stays_one_and_the_others_do_not_care():
    augment = registry.build("augmentations", "spatial:probability=1,elastic=3,flip=false", TASK)
    batch = make_batch(TASK, margin=1.25)
    lacking = batch.image.clone()
    lacking[:, -1] = 0
    torch.manual_seed(0)
    whole = augment(batch)
    torch.manual_seed(0)
    less = augment(batch.but(image=lacking))
    assert not less.image[:, -1].any()
    assert torch.equal(less.image[:, :-1], whole.image[:, :-1])
    assert torch.equal(less.label, whole.label)
