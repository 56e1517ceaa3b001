"""Bidirectional copy-paste: what is pasted, what it counts, and that it helps few labels."""

import pytest
import torch

from oncoseg.blocks.mixing import box_mask, paste
from oncoseg.blocks.supervision import deep_loss, largest_component, pseudo_label
from toys import BLOBS, batch_of, blobs, build, dice, few_and_many, learn


def batch(count=4, known=2):
    image, mask = blobs(count, 5)
    return batch_of(image, mask, torch.arange(count) < known)


@pytest.mark.parametrize("shape", [(32, 32), (9, 10, 17)])
def test_the_box_is_two_thirds_of_every_axis(shape):
    for seed in range(5):
        torch.manual_seed(seed)
        hole = 1 - box_mask(shape, 2 / 3)
        expected = 1.0
        for size in shape:
            expected *= (2 * size // 3) / size
        assert float(hole.mean()) == pytest.approx(expected)
        assert torch.equal(largest_component(hole[None, None])[0, 0], hole)


def test_images_labels_and_weights_are_pasted_alike():
    torch.manual_seed(0)
    first, second, mask = batch()[:2], batch()[2:], box_mask(BLOBS.patch, 2 / 3)
    second = second.but(weight=second.weight * 0.25, present=~second.present)
    mixed = paste(first, second, mask)
    for name in ("image", "label", "weight", "present"):
        a, b = getattr(first, name), getattr(second, name)
        assert torch.equal(getattr(mixed, name).float(), a * mask + b * (1 - mask)), name


def test_pseudo_labels_keep_one_piece_a_class():
    logits = torch.full((1, 3, 8, 8), -1.0)
    logits[:, 0] = 0
    logits[0, 1, :2, :2] = logits[0, 1, 5:, :3] = 1
    logits[0, 2, 3, 7] = logits[0, 2, 4, 6] = 1  # touch at a corner: one piece
    inside = torch.ones_like(logits[:, :1])
    label = pseudo_label(logits, inside, exclusive=True, largest=True)
    assert torch.equal(label.sum(1), torch.ones(1, 8, 8))
    assert label[0, 1].sum() == 9
    assert label[0, 1, 5:, :3].all()
    assert label[0, 2].sum() == 2
    assert pseudo_label(logits, inside, exclusive=True)[0, 1].sum() == 13
    regions = pseudo_label(torch.tensor([[[[0.0, -0.1]]]]), inside[..., :1, :2], exclusive=False)
    assert regions.flatten().tolist() == [1, 0]  # a probability of 1/2 is enough


def test_with_no_trust_only_labelled_voxels_count():
    method, given = build("bcp:warm_up=0,trust=0"), batch()
    mask = box_mask(BLOBS.patch, 2 / 3)
    a, p = given[:1], given[2:3].but(label=torch.rand(1, 2, 32, 32))
    logits = method.network(paste(a, p, mask))
    expected = deep_loss(method.loss, logits, a.label, mask[None, None]) / 2
    assert torch.equal(method.mixed(a, p, mask), expected)


def test_each_region_is_normalised_on_its_own_and_pseudo_labels_count_half():
    sizes = []

    def loss(logits, target, weight):
        sizes.append(float(weight.mean()))
        return torch.ones(()) + 0 * logits.sum()

    method, given = build("bcp:warm_up=0"), batch()
    method.loss.forward = loss
    losses = method.losses(given, 0)
    assert {name: float(value.detach()) for name, value in losses.items()} == {
        "inward": pytest.approx(0.75),
        "outward": pytest.approx(0.75),
    }
    finest = sizes[:: len(sizes) // 4]
    hole = (21 / 32) ** 2
    assert finest == pytest.approx([1 - hole, hole, 1 - hole, hole])


def test_first_labelled_scans_are_mixed_and_the_teacher_is_a_copy():
    method, given = build("bcp:warm_up=2,decay=0.9"), batch()
    assert set(method.losses(given, 1)) == {"copy_paste"}
    assert set(method.losses(given, 2)) == {"inward", "outward"}
    value, taught = (next(iter(each.parameters())) for each in (method.network, method.teacher))
    for step, expected in enumerate((1.0, 1.0, 0.9)):
        with torch.no_grad():
            value.fill_(float(step < 2))
        method.after_step(step)
        assert float(taught.flatten()[0]) == pytest.approx(expected)


def test_unlabelled_images_help_few_labels():
    image, mask = blobs(100, 999)
    gains = []
    for seed in range(3):
        plain, method = (
            learn(build(spelled, seed), few_and_many(seed), 200)
            for spelled in ("supervised", "bcp:warm_up=70")
        )
        gains.append(dice(method.network, image, mask) - dice(plain.network, image, mask))
    assert sum(gains) / 3 >= 0.03
    assert min(gains) >= -0.02


@pytest.mark.parametrize("exclusive", [True, False])
def test_what_the_teacher_sees_beside_the_scan_is_no_component(exclusive):
    """Else the air around a small scan, larger than any tumour, becomes the pseudo-label."""
    logits = torch.full((1, 1, 8, 8), -5.0)
    logits[..., 2:4, 2:4] = 5  # the tumour
    logits[..., 5:, :] = 5  # the air, of which nothing is known
    weight = torch.ones(1, 1, 8, 8)
    weight[..., 5:, :] = 0
    if exclusive:
        logits = torch.cat([-logits, logits], dim=1)
    label = pseudo_label(logits, weight, exclusive=exclusive, largest=True)
    assert label[0, -1].sum() == 4
    assert label[0, -1, 2:4, 2:4].all()
    assert not exclusive or (label.sum(1) == 1).all()
