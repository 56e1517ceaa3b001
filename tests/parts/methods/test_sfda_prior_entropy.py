"""Source-free adaptation: entropy and divergence, that the prior prevents collapse, and its use."""

import copy
import math

import pytest
import torch

from oncoseg.errors import BadOption
from oncoseg.methods.sfda_prior_entropy import (
    chances,
    ratio_divergence,
    ratios_of,
    weighted_entropy,
)
from toys import BLOBS, batch_of, blobs, build, dice, learn
from worlds import classes_task, regions_task


def test_uniform_probabilities_have_the_entropy_of_a_fair_choice_and_no_divergence_from_it():
    shares, weight = torch.full((2, 4, 8, 8), 0.25), torch.ones(2, 1, 8, 8)
    entropy = weighted_entropy(shares, weight, torch.ones(4))
    assert float(entropy) == pytest.approx(math.log(4), abs=1e-6)
    assert float(ratio_divergence(shares, weight, torch.full((2, 4), 0.25))) == pytest.approx(0)


def test_divergence_is_from_found_to_expected_and_voxels_without_weight_do_not_count():
    shares = torch.tensor([[[[0.8, 0.0]], [[0.2, 1.0]]]])
    weight, expected = torch.tensor([[[[1.0, 0.0]]]]), torch.tensor([[0.5, 0.5]])
    wanted = 0.8 * math.log(0.8 / 0.5) + 0.2 * math.log(0.2 / 0.5)
    assert float(ratio_divergence(shares, weight, expected)) == pytest.approx(wanted)
    entropy = -0.1 * 0.8 * math.log(0.8) - 0.9 * 0.2 * math.log(0.2)
    found = weighted_entropy(shares, weight, torch.tensor([0.1, 0.9]))
    assert float(found) == pytest.approx(entropy)


def test_a_prior_is_asked_for():
    with pytest.raises(BadOption, match=r"prior=0\.02, not ''"):
        ratios_of((), BLOBS)
    for prior in ((0.2, 0.3, 0.1), (0.6,), (0.0, 0.1)):
        with pytest.raises(BadOption, match="each of class_1, class_2"):
            ratios_of(prior, classes_task())
    assert ratios_of((0.25, 0.5), classes_task()).tolist() == [[0.25, 0.25, 0.5]]
    assert ratios_of((0.25,), regions_task()).tolist() == [[0.75, 0.25]] * 3


def test_regions_are_each_against_their_own_background():
    shares = chances(torch.zeros(2, 3, 4, 4), exclusive=False)
    assert shares.shape == (6, 2, 4, 4)
    assert (shares == 0.5).all()


@pytest.fixture(scope="module")
def source():
    """A network trained on many labelled images of the source."""
    image, mask = target(1, bend=0)
    known = torch.ones(64, dtype=torch.bool)

    def at(step):
        index = torch.randint(64, (8,), generator=torch.Generator().manual_seed(step))
        return batch_of(image[index], mask[index], known[index])

    return learn(build("supervised"), at, 150).network.eval()


def target(seed, bend):
    """64 images in which the brightest values turn dark again, the more so the larger `bend`."""
    image, mask = blobs(64, seed, noise=0.2, radius=(5, 7))
    return image - bend * image.clamp(min=0) ** 2, mask


def adapted(source, bend, **options):
    """The source's network after adaptation to images of the target, none of them labelled."""
    prior = float(target(1, bend=0)[1].mean())  # known from the source
    words = [f"{name}={value}" for name, value in {"prior": prior, **options}.items()]
    method = build("sfda_prior_entropy:" + ",".join(words))
    method.network.load_state_dict(copy.deepcopy(source.state_dict()))
    image, mask = target(2, bend)
    unknown = torch.zeros(8, dtype=torch.bool)

    def at(step):
        index = torch.randint(64, (8,), generator=torch.Generator().manual_seed(step))
        return batch_of(image[index], mask[index], unknown)

    return learn(method, at, 80, rate=1e-3).network


def test_adaptation_repairs_a_shift(source):
    image, mask = target(3, bend=0.6)
    gain = dice(adapted(source, 0.6), image, mask) - dice(source, image, mask)
    assert gain >= 0.05


def test_without_the_prior_one_class_takes_over(source):
    image, mask = target(3, bend=0.35)
    alone = dice(adapted(source, 0.35, divergence=0), image, mask)
    assert dice(adapted(source, 0.35), image, mask) >= alone + 0.2
