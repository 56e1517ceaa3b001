"""Quotas a class, a geometric schedule of beta, and chances in proportion to U^beta."""

import numpy as np
import pytest
from scipy.stats import chisquare

from oncoseg import Grid, Prediction, build
from oncoseg.blocks.boxes import powered
from oncoseg.errors import BadOption
from oncoseg.parts import Wanted
from oncoseg.queries.clasp_pe import ALL, shares
from worlds import classes_task

SIDE = 40


def pool():
    """Three classes, each in a case of its own; the third has 0.1 % of all voxels."""
    task = classes_task(3, 16, classes=3)
    cases = []
    for place, reach in enumerate((30, 20, 6)):
        probability = np.zeros((3, SIDE, SIDE, SIDE), np.float16)
        probability[(place, *(slice(0, reach),) * 3)] = (0.5, 0.4, 0.3)[place]
        label = np.zeros((SIDE,) * 3, np.uint8)
        grid = Grid(label.shape, np.eye(4))
        cases.append(Prediction(f"class {place}", task, grid, label, probability, ("image",)))
    return cases


@pytest.mark.parametrize("count", [9, 12, 20, 21])
def test_every_class_gets_its_quota_and_the_sum_is_what_was_asked_for(count):
    """The third class is in 1 voxel of 1000, and still has its part of the boxes."""
    found = build("queries", "clasp_pe").pick(pool(), Wanted(count, (3, 3, 3), done=1.0))
    assert len(found) == count
    aimed = int(0.66 * count)
    plain = count - aimed  # boxes of no class, which may lie in any of the three
    for place in range(3):
        held = sum(box.case == f"class {place}" for box in found)
        quota = aimed / 3
        assert quota - 1 < held < quota + 1 + plain
    rare = sum(box.case == "class 2" for box in found)
    assert rare < aimed / 3 + 1  # nothing of the plain map, whose entropy is lowest there


@pytest.mark.parametrize(("count", "regions"), [(20, 3), (7, 4), (2, 5), (1, 1), (10, 0)])
def test_shares_differ_by_one_at_most_and_sum_up(count, regions):
    found = shares(count, regions, 0.66, np.random.default_rng(0))
    assert sum(found.values()) == count
    assert found.keys() == {ALL, *range(regions)}
    aimed = [found[region] for region in range(regions)]
    assert sum(aimed) == (int(0.66 * count) if regions else 0)
    assert max(aimed, default=0) - min(aimed, default=0) <= 1


def test_what_is_left_over_and_the_order_are_drawn():
    drawn = [shares(5, 4, 0.66, np.random.default_rng(seed)) for seed in range(30)]
    assert len({tuple(found) for found in drawn}) > 10
    assert {max(found, key=lambda one: (one != ALL, found[one])) for found in drawn} == {0, 1, 2, 3}


@pytest.mark.parametrize("rounds", [3, 5, 10])
def test_beta_grows_from_1_to_100_by_one_factor(rounds):
    query = build("queries", "clasp_pe")
    betas = np.array([query.beta(step / (rounds - 1)) for step in range(rounds)])
    assert betas[0] == 1
    assert betas[-1] == pytest.approx(100)
    assert betas[1:] / betas[:-1] == pytest.approx(np.full(rounds - 1, 100 ** (1 / (rounds - 1))))


@pytest.mark.parametrize("beta", [1.0, 3.0])
def test_a_box_is_the_first_with_a_chance_in_proportion_to_its_score_to_the_beta(beta):
    scores = np.array([0.1, 0.2, 0.3, 0.25, 0.15])
    rng = np.random.default_rng(0)
    draws = 20_000
    firsts = np.argmax(powered(np.tile(scores, (draws, 1)), beta, rng), axis=1)
    chance = scores**beta / (scores**beta).sum()
    assert chisquare(np.bincount(firsts, minlength=5), chance * draws).pvalue > 0.01


def test_without_noise_and_classes_it_is_plain_entropy():
    calm = build("queries", "clasp_pe:foreground=0,first=1e9,last=1e9")
    rng = np.random.default_rng(1)
    cases = [
        one.but(probability=rng.random((3, 12, 12, 12)).astype(np.float16) / 3).but(
            grid=Grid((12,) * 3, np.eye(4))
        )
        for one in pool()
    ]
    wanted = Wanted(6, (4, 4, 4))
    assert calm.pick(cases, wanted) == build("queries", "entropy").pick(cases, wanted)


def test_options_out_of_range_are_refused():
    with pytest.raises(BadOption, match="foreground from 0 to 1"):
        build("queries", "clasp_pe:foreground=66")
