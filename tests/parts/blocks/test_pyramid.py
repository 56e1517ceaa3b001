"""The way down a U-Net and up again, written out once by hand."""

import torch
from torch import nn

from oncoseg.blocks.pyramid import climbed, descended, finest, logits_of, stretched, summed


def made():
    """Two convolutions and a pooling down; up by transposed convolutions, with odd sizes."""
    torch.manual_seed(0)
    down = [nn.Conv2d(1, 2, 3, padding=1), nn.Conv2d(2, 4, 3, padding=1)]
    pool = [nn.MaxPool2d(2, ceil_mode=True)]
    up = nn.ModuleList([nn.ConvTranspose2d(4, 2, 2, 2)])
    return down, pool, up, nn.ModuleList([nn.Conv2d(4, 2, 1)])


def test_stages_and_what_stands_between_them_follow_one_another():
    down, pool, _, _ = made()
    image = torch.randn(1, 1, 5, 7)
    fine = down[0](image)
    expected = [fine, down[1](pool[0](fine))]
    assert all(map(torch.equal, climbed(down, image, pool), expected))
    assert [level.shape[2:] for level in climbed(down, image)] == [(5, 7), (5, 7)]


def test_each_level_is_what_came_up_beside_its_skip():
    down, pool, up, stages = made()
    fine, coarse = climbed(down, torch.randn(1, 1, 5, 7), pool)
    expected = stages[0](torch.cat([up[0](coarse)[:, :, :5, :7], fine], dim=1))
    found = list(descended([fine, coarse], up, stages))
    assert [level for level, _ in found] == [1, 0]
    assert found[0][1] is coarse
    assert torch.equal(found[1][1], expected)
    assert torch.equal(finest(found), expected)


def test_without_a_way_up_what_lies_below_is_interpolated():
    fine, coarse = torch.zeros(1, 2, 5, 7), torch.ones(1, 2, 3, 4)
    same = nn.ModuleList([nn.Identity()])
    beside = finest(descended([fine, coarse], (), same, stretched))
    torch.testing.assert_close(beside, torch.cat([torch.ones_like(fine), fine], dim=1))
    both = finest(descended([fine, coarse], (), same, summed))
    torch.testing.assert_close(both, torch.ones_like(fine))


def test_logits_come_finest_first_of_levels_with_a_head_and_of_one_alone_where_not_every():
    heads = nn.ModuleList([nn.Identity(), nn.Identity()])
    levels = [(2, torch.zeros(2)), (1, torch.zeros(1)), (0, torch.zeros(3))]
    assert [len(one) for one in logits_of(heads, iter(levels), every=True)] == [3, 1]
    assert [len(one) for one in logits_of(heads, iter(levels), every=False)] == [3]
