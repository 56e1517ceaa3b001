"""Diffusion: the schedule, what noise does and undoes, the order of RePaint, histograms."""

import math
from itertools import pairwise

import pytest
import torch

from oncoseg.blocks.diffusion import Diffusion, cosine_betas, histogram, jumps, sinusoids


def test_the_cosine_schedule_is_the_published_formula():
    betas = cosine_betas(300)
    kept = (1 - betas).cumprod(0)
    for state in (0, 17, 150, 298):
        wanted = math.cos(((state + 1) / 300 + 0.008) / 1.008 * math.pi / 2) ** 2
        wanted /= math.cos(0.008 / 1.008 * math.pi / 2) ** 2
        assert float(kept[state]) == pytest.approx(wanted, rel=1e-9)
    assert float(betas[-1]) == 0.9999
    assert (betas[1:] > betas[:-1]).all()


def test_noise_is_put_in_and_taken_out():
    process = Diffusion(50)
    clean, noise = torch.randn(4, 1, 5, 5), torch.randn(4, 1, 5, 5)
    time = torch.tensor([-1, 0, 20, 40])
    image = process.noised(clean, time, noise)
    assert torch.equal(image[0], clean[0])
    kept = float((1 - cosine_betas(50)[:21]).prod())
    wanted = math.sqrt(kept) * clean[2] + math.sqrt(1 - kept) * noise[2]
    assert torch.allclose(image[2], wanted, atol=1e-5)
    assert torch.allclose(process.clean(image, time, noise), clean, atol=1e-3)


def test_going_back_and_forth_follows_bayes():
    """q(x_{t-1} | x_t, x_0) is the product of two Gaussians, in numbers for one voxel."""
    process, state = Diffusion(10), 6
    betas = cosine_betas(10)
    before, beta = float((1 - betas[:state]).prod()), float(betas[state])
    precision = (1 - beta) / beta + 1 / (1 - before)
    x, start = 0.7, -0.4
    wanted = (math.sqrt(1 - beta) / beta * x + math.sqrt(before) / (1 - before) * start) / precision
    time = torch.tensor([state])
    mean, variance = process.back(torch.full((1, 1, 1), x), torch.full((1, 1, 1), start), time)
    assert float(mean) == pytest.approx(wanted, rel=1e-4)
    assert float(variance) == pytest.approx(1 / precision, rel=1e-4)
    first, none = process.back(torch.ones(1, 1, 1), torch.full((1, 1, 1), start), torch.tensor([0]))
    assert float(first) == pytest.approx(start, abs=1e-6)
    assert float(none) == 0
    more = process.forth(torch.full((1, 1, 1), x), time, torch.full((1, 1, 1), 0.5))
    assert float(more) == pytest.approx(math.sqrt(1 - beta) * x + math.sqrt(beta) * 0.5, rel=1e-5)


def test_jumps_are_those_of_repaint():
    assert jumps(5, 9, 3) == [4, 3, 2, 1, 0, -1]
    assert jumps(5, 2, 1) == [4, 3, 2, 1, 0, -1]
    assert jumps(5, 2, 2) == [4, 3, 2, 3, 4, 3, 2, 1, 0, 1, 2, 1, 0, -1]
    full = jumps(250, 10, 10)  # the setting of that paper
    assert len(full) == 250 + 1 + 24 * 9 * 20
    assert all(abs(a - b) == 1 for a, b in pairwise(full))
    assert max(full) == 249


def test_times_are_told_apart():
    waves = sinusoids(torch.arange(50), 32)
    assert waves.shape == (50, 32)
    assert torch.equal(waves[0], torch.cat([torch.zeros(16), torch.ones(16)]))
    assert (torch.cdist(waves, waves) + 9 * torch.eye(50)).min() > 0.05


def test_a_histogram_sums_to_one_and_nothing_gives_zeros():
    image = torch.tensor([-3.0, -1.0, -0.9, 0.0, 0.1, 0.99, 1.0, 7.0]).view(1, 1, 8)
    mask = torch.ones(1, 1, 8)
    found = histogram(image, mask, 16)[0, 0] * 8
    assert found.tolist() == [3, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 3]
    mask[..., :3] = 0
    assert float(histogram(image, mask, 16).sum()) == pytest.approx(1)
    empty = histogram(image, 0 * mask, 16)
    assert not empty.any()
    assert torch.isfinite(empty).all()
