"""LeFusion: the loss sees lesions alone, and texture follows the histogram."""

import pytest
import torch
from scipy.stats import spearmanr

from oncoseg import registry
from oncoseg.methods.lefusion import focused
from toys import BLOBS, batch_of, blobs, learn
from worlds import make_batch, regions_task


def build(task, network):
    torch.manual_seed(0)
    trained = registry.load("methods", "lefusion").pretext(task)
    return registry.build(
        "methods", "lefusion", registry.build("networks", network, trained), task, None
    )


def test_predictions_outside_the_mask_change_nothing():
    torch.manual_seed(0)
    told, noise = torch.randn(2, 1, 8, 8), torch.randn(2, 1, 8, 8)
    mask = torch.zeros(2, 1, 8, 8, dtype=torch.bool)
    mask[:, :, 2:5, 3:6] = True
    wrong = torch.where(mask, told, 1e3 * torch.randn(2, 1, 8, 8))
    assert torch.equal(focused(told, noise, mask), focused(wrong, noise, mask))
    wanted = (told - noise).abs()[mask].mean()
    assert float(focused(told, noise, mask)) == pytest.approx(float(wanted), rel=1e-6)
    assert float(focused(told, noise, mask & False)) == 0


def test_each_region_of_each_modality_is_learnt_in_its_own_mask():
    task = regions_task(2, 32, ("t1", "flair"))
    method = build(task, "diffusion_unet:width=8,steps=6")
    batch = make_batch(task)
    only = batch.label.clone()
    only[:, 1:] = 0  # the whole tumour alone
    told = []

    def watched(image, time, control):
        told.append(torch.zeros_like(image, requires_grad=True))
        return told[-1]

    method.network.denoise = watched
    method.losses(batch.but(label=only), 0)["noise"].backward()
    inside = (only[:, :1] > 0).expand(-1, 2, -1, -1)
    grown = told[0].grad != 0
    assert torch.equal(grown[:, :2], inside)
    assert not grown[:, 2:].any()


def test_a_model_that_learns_tells_the_noise_better():
    method = build(BLOBS, "diffusion_unet:width=8,steps=20")
    image, mask = blobs(64, 0)
    batch = batch_of(image, mask, torch.ones(64, dtype=torch.bool))

    def wrong():
        torch.manual_seed(5)
        with torch.no_grad():
            return float(method.losses(batch, 0)["noise"])

    before = wrong()
    learn(method, lambda step: batch[(8 * step) % 64 : (8 * step) % 64 + 8], 60)
    assert wrong() < 0.8 * before


def test_the_lesion_is_as_bright_as_the_histogram_says():
    image, mask = blobs(64, 1, noise=0.1)
    level = torch.linspace(-2, 2, 64).view(-1, 1, 1, 1)
    image = torch.where(mask > 0, level + 0.1 * torch.randn_like(image), 0.3 * image)
    order = torch.randperm(64, generator=torch.Generator().manual_seed(0))
    batch = batch_of(image, mask, torch.ones(64, dtype=torch.bool))[order]
    method = build(BLOBS, "diffusion_unet:width=8,steps=20,repeats=1")
    learn(method, lambda step: batch[(16 * step) % 64 : (16 * step) % 64 + 16], 150, rate=5e-3)
    network = method.result.eval()
    healthy, shape = (
        batch_of(0.3 * blobs(12, 2, noise=0.1)[0], mask[:12], torch.ones(12).bool()),
        mask[:12],
    )
    bins = torch.linspace(4, 11, 12).round().long()
    control = torch.nn.functional.one_hot(bins, 16).float().view(12, 1, 16)
    painted = network.paint(healthy, control, torch.Generator().manual_seed(0))
    means = (painted * shape).flatten(1).sum(1) / shape.flatten(1).sum(1)
    assert spearmanr(bins.numpy(), means.numpy()).statistic > 0.7
