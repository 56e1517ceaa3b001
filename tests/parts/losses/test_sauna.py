"""SAUNA: soft labels whose sign is the mask, and losses that are zero for them."""

import numpy as np
import pytest
import torch

from oncoseg import registry
from oncoseg.blocks.distance_labels import distance_label, distance_labels
from oncoseg.errors import BadOption
from oncoseg.losses.sauna import focal_l1, signed_jaccard
from worlds import classes_task, make_batch


def stripes():
    """Vessels 1 and 9 pixels wide."""
    mask = np.zeros((48, 40), dtype=bool)
    mask[8], mask[24:33] = True, True
    return mask


@pytest.mark.parametrize("shape", [(40, 37), (14, 16, 13)])
def test_the_sign_of_the_label_is_the_mask(shape):
    mask = np.random.default_rng(0).random(shape) > 0.7
    for one in (mask, np.pad(mask[1:-1, 1:-1], [(1, 1), (1, 1)] + [(0, 0)] * (len(shape) - 2))):
        label = distance_label(one)
        assert np.array_equal(label > 0, one)
        assert (label != 0).all()
        assert np.abs(label).max() <= 1


def test_the_middle_of_a_thin_vessel_is_as_sure_as_that_of_a_thick_one():
    label = distance_label(stripes())[:, 20]
    assert label[8] == pytest.approx(1)  # 1/5 + (1 - 1/5)
    # inside the thick one d = 1..5 of 5, and within two pixels the largest is 3, 4, 5, 5, 5
    assert label[24:29] == pytest.approx([0.6, 0.6, 0.6, 0.8, 1])
    assert np.array_equal(label[24:33], label[24:33][::-1])
    # beside the thin one d = 1 of 5, and within five pixels the largest is 1 of 5
    assert label[9] == pytest.approx(-1)
    # and beside the thick one 5, 4, 3, 2, 1 of 5
    assert label[33:38] == pytest.approx([-0.2, -0.6, -1, -1, -1])
    assert label[0] == label[-1] == -1


def test_the_edge_of_a_vessel_is_the_surer_the_thinner_it_is():
    edges = []
    for width in (1, 3, 5, 7):
        mask = np.zeros((60, 8), dtype=bool)
        mask[5 : 5 + width] = True
        mask[35:46] = True  # eleven wide, alike in all
        edges.append(distance_label(mask)[5, 4])
    assert edges == sorted(edges, reverse=True)
    assert edges[0] > edges[-1]


def test_nothing_is_sure_background_and_all_sure_foreground():
    assert (distance_label(np.zeros((5, 6), dtype=bool)) == -1).all()
    assert (distance_label(np.ones((5, 6), dtype=bool)) == 1).all()


def test_jaccard_of_masks_is_one_minus_their_iou():
    generator = torch.Generator().manual_seed(0)
    one, other = (torch.rand(2, 1, 2, 9, 9, generator=generator) > 0.5).float()
    even = torch.ones_like(one)
    both, either = (one * other).sum((0, 2, 3)), ((one + other) > 0).sum((0, 2, 3))
    torch.testing.assert_close(signed_jaccard(one, other, even), 1 - both / either)


def test_jaccard_of_signed_values_by_hand():
    found, soft = torch.tensor([[[0.5, -1.0, 0.5]]]), torch.tensor([[[1.0, -0.5, -0.5]]])
    even = torch.ones_like(found)
    # positive: 0.5 of 1 + 0.5; negative: 0.5 of 1 + 0.5
    assert float(signed_jaccard(found, soft, even)) == pytest.approx(1 - 1 / 3)
    assert float(signed_jaccard(found, soft, even, pooled=False)) == pytest.approx(4 / 3)
    random = torch.rand(2, 3, 8, 8) * 2 - 1
    assert signed_jaccard(random, random, torch.ones_like(random)) == pytest.approx([0] * 3)
    apart = signed_jaccard(random, -random, torch.ones_like(random))
    assert apart == pytest.approx([1] * 3)
    # the same as the norms of sum and difference
    x, y = random.relu(), random.flip(0).relu()
    plus, minus = (x + y).abs().sum(), (x - y).abs().sum()
    total = signed_jaccard(x.reshape(1, 1, -1), y.reshape(1, 1, -1), torch.ones(1, 1, x.numel()))
    assert float(total) == pytest.approx(float(1 - (plus - minus) / (plus + minus)), abs=1e-5)


def test_focal_l1_by_hand():
    found, soft = torch.tensor([0.5, -0.5]), torch.tensor([0.75, 0.75])
    assert focal_l1(found, soft, 2, 1) == pytest.approx([2 * 0.25**2, 1.25])


def test_the_loss_asks_for_the_soft_label_itself():
    task, loss = classes_task(2, 32), registry.build("losses", "sauna", exclusive=True)
    target, even = make_batch(task).label, torch.ones(2, 1, 32, 32)
    ideal = loss.ideal(target)
    share = ideal.softmax(1)[:, 1:]
    assert (2 * share - 1 - distance_labels(target)[:, 1:]).abs().max() < 1e-4
    assert float(loss(ideal, target, even)) < float(loss((target * 2 - 1) * 20, target, even))


def test_a_network_learns_a_disc_from_it():
    torch.manual_seed(0)
    task = classes_task(2, 32, classes=1)
    rows, columns = torch.meshgrid(torch.arange(32), torch.arange(32), indexing="ij")
    disc = ((rows - 14) ** 2 + (columns - 18) ** 2 < 49).float()
    batch = make_batch(task, size=1)
    label = torch.stack([1 - disc, disc])[None]
    batch = batch.but(image=disc[None, None] + 0.3 * torch.randn(1, 1, 32, 32), label=label)
    network = registry.build("networks", "unet:width=4", task)
    loss = registry.build("losses", "sauna", exclusive=True)
    optimiser = torch.optim.Adam(network.parameters(), 1e-2)
    for _ in range(60):
        optimiser.zero_grad()
        loss(network(batch)[0], batch.label, batch.weight).backward()
        optimiser.step()
    found = network.eval()(batch)[0].argmax(1)[0] > 0
    overlap = 2 * (found & (disc > 0)).sum() / (found.sum() + disc.sum())
    assert float(overlap) > 0.95


def test_constants_that_make_no_loss_are_refused():
    with pytest.raises(BadOption, match="alpha and beta above 0"):
        registry.build("losses", "sauna:alpha=0")
