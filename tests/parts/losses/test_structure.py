"""Structure loss: the formula of its paper, boundaries that count more, classes as maps."""

import pytest
import torch
import torch.nn.functional as F

from oncoseg import registry
from oncoseg.errors import BadOption
from oncoseg.losses.structure import against_others, box_mean


def built(options="", *, exclusive=False):
    return registry.build("losses", f"structure:{options}", exclusive=exclusive)


def square(size=48):
    mask = torch.zeros(2, 1, size, size)
    mask[:, :, 10:30, 12:34] = 1
    return mask


@pytest.mark.parametrize("weighted", [True, False])
def test_it_is_the_formula_of_the_paper_for_one_map(weighted):
    torch.manual_seed(0)
    logits, mask = torch.randn(2, 1, 48, 48), square()
    near = 1 + 5 * (F.avg_pool2d(mask, 31, 1, 15) - mask).abs()
    entropy = F.binary_cross_entropy_with_logits(logits, mask, reduction="none")
    total = (near * entropy).sum((2, 3)) / near.sum((2, 3)) if weighted else entropy.mean((2, 3))
    chance = logits.sigmoid()
    shared, both = (chance * mask * near).sum((2, 3)), ((chance + mask) * near).sum((2, 3))
    expected = (total + 1 - (shared + 1) / (both - shared + 1)).mean()
    loss = built(f"weighted={str(weighted).lower()}")
    torch.testing.assert_close(loss(logits, mask, torch.ones_like(mask)), expected)


def test_a_mistake_costs_more_near_a_boundary():
    mask = square()
    logits = 8 * (2 * mask - 1)
    middle, edge = logits.clone(), logits.clone()
    middle[..., 20, 23] *= -1
    edge[..., 10, 12] *= -1
    loss, ones = built(), torch.ones_like(mask)
    assert loss(edge, mask, ones) > loss(middle, mask, ones) > loss(logits, mask, ones)


def test_of_two_classes_the_difference_of_logits_counts():
    torch.manual_seed(0)
    logits, mask = torch.randn(2, 2, 48, 48), square()
    label, ones = torch.cat([1 - mask, mask], dim=1), torch.ones_like(mask)
    alone = built()(logits[:, 1:] - logits[:, :1], mask, ones)
    torch.testing.assert_close(built(exclusive=True)(logits, label, ones), alone)
    several = torch.randn(2, 4, 5, dtype=torch.float64)
    chance = several.softmax(dim=1)
    torch.testing.assert_close(against_others(several).sigmoid(), chance)


def test_a_box_may_be_larger_than_the_image():
    values = torch.rand(1, 1, 4, 5, 6, dtype=torch.float64)
    found = box_mean(values, 31)
    torch.testing.assert_close(found, torch.full_like(values, float(values.sum()) / 31**3))


def test_sides_are_odd():
    with pytest.raises(BadOption, match="odd side"):
        built("side=30")
