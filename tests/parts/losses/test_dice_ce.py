"""Dice plus cross-entropy against values worked out by hand."""

import math

import pytest
import torch

from oncoseg import registry


def test_regions_by_hand():
    loss = registry.build("losses", "dice_ce", exclusive=False)
    logits = torch.zeros(1, 1, 2, 2)  # probability 1/2 everywhere
    target = torch.tensor([[[[1.0, 0.0], [0.0, 0.0]]]])
    # overlap 0.5, sum 2 + 1: Dice 1/3; cross-entropy log 2
    assert float(loss(logits, target, torch.ones(1, 1, 2, 2))) == pytest.approx(
        2 / 3 + math.log(2), abs=1e-4
    )


def test_classes_by_hand_leave_background_out_of_dice():
    loss = registry.build("losses", "dice_ce:ce=0", exclusive=True)
    logits = torch.zeros(1, 2, 1, 2)
    target = torch.tensor([[[[1.0, 0.0]], [[0.0, 1.0]]]])
    # class 1: overlap 0.5, sum 1 + 1: Dice 1/2
    assert float(loss(logits, target, torch.ones(1, 1, 1, 2))) == pytest.approx(0.5, abs=1e-4)


def test_a_class_that_was_not_annotated_is_never_learned_as_background():
    loss = registry.build("losses", "dice_ce", exclusive=True)
    target = torch.zeros(1, 3, 4, 4)
    target[:, 0] = 1
    weight = torch.ones(1, 3, 4, 4)
    weight[:, 2] = 0
    unsure = torch.zeros(1, 3, 4, 4)
    unsure[:, 2] = 9  # says class 2, of which nothing is known here
    wrong = torch.zeros(1, 3, 4, 4)
    wrong[:, 1] = 9  # says class 1, which was looked for and is not there
    assert float(loss(unsure, target, weight)) < 0.05 + 1  # Dice of an absent class is at most 1
    assert float(loss(wrong, target, weight)) > float(loss(unsure, target, weight)) + 5


def test_what_is_known_may_differ_within_an_item():
    """Two scans pasted into one: the right half was searched for class 2, the left was not."""
    loss = registry.build("losses", "dice_ce:dice=0", exclusive=True)
    target = torch.zeros(1, 3, 1, 2)
    target[:, 0] = 1
    weight = torch.ones(1, 3, 1, 2)
    weight[:, 2, :, 0] = 0
    logits = torch.zeros(1, 3, 1, 2, requires_grad=True)
    loss(logits, target, weight).backward()
    left, right = logits.grad[0, 2, 0]
    assert left < 0 < right  # background or class 2 on the left, no class 2 on the right
