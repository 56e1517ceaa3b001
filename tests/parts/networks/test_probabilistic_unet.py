"""Probabilistic U-Net: draws differ, the plain answer does not, the posterior alone sees labels."""

import torch

from oncoseg import registry
from worlds import classes_task, make_batch, regions_task

SMALL = "probabilistic_unet:width=8,blocks=1"


def built(task):
    torch.manual_seed(0)
    return registry.build("networks", SMALL, task).eval()


def test_draws_differ_and_the_plain_answer_does_not():
    network, batch = built(regions_task(2)), make_batch(regions_task(2))
    with torch.no_grad():
        assert torch.equal(network(batch)[0], network(batch)[0])
        draws = network.samples(batch, 4)
        assert all((draws[0] - other).abs().max() > 1e-3 for other in draws[1:])
        torch.manual_seed(1)
        first = network.samples(batch, 2)
        torch.manual_seed(1)
        assert torch.equal(first, network.samples(batch, 2))


def test_the_plain_answer_is_at_the_mean_of_the_prior():
    task = classes_task(3, 16)
    network, batch = built(task), make_batch(task)
    with torch.no_grad():
        mean, deviation = network.prior(batch)
        assert mean.shape == deviation.shape == (2, 6)
        features = network.features(network.encode(batch))
        assert torch.equal(network(batch)[0], network.at(features, mean))
        network.prior.code.weight.data[6:] = 0
        network.prior.code.bias.data[6:] = -30  # no deviation: every draw is the mean
        assert torch.allclose(network.samples(batch, 2)[1], network(batch)[0], atol=1e-5)


def test_the_label_is_read_by_the_posterior_alone():
    task = regions_task(2)
    network, batch = built(task), make_batch(task)
    other = batch.but(label=1 - batch.label)
    with torch.no_grad():
        assert torch.equal(network(batch)[0], network(other)[0])
        assert torch.equal(network.prior(batch)[0], network.prior(other)[0])
        assert not torch.equal(network.posterior(batch)[0], network.posterior(other)[0])


def test_the_latent_networks_tell_how_large_a_structure_is():
    task = classes_task(2, 32, classes=1)
    network, batch = built(task), make_batch(task)
    small, large = (torch.zeros_like(batch.label) for _ in range(2))
    small[:, 1, 12:20, 12:20], large[:, 1, 4:28, 4:28] = 1, 1
    small[:, 0], large[:, 0] = 1 - small[:, 1], 1 - large[:, 1]
    with torch.no_grad():
        codes = [network.posterior(batch.but(label=label))[0] for label in (small, large)]
    assert (codes[0] - codes[1]).abs().max() > 0.05


def test_depth_and_widths_follow_the_plan():
    network = registry.build("networks", "probabilistic_unet:width=8,limit=20", classes_task(2))
    assert network.widths == [8, 16, 20, 20]
    convolutions = [m for m in network.combine if isinstance(m, torch.nn.Conv2d)]
    assert [(m.in_channels, m.out_channels) for m in convolutions] == [
        (8 + 6, 8),
        (8, 8),
        (8, 8),
        (8, 3),
    ]
