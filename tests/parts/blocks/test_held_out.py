"""What held-out cases promise: as much as order statistics can, and of another model less."""

import numpy as np
import pytest

from oncoseg.blocks.held_out import bound, gathered, least, made, strict


def taught(rng, count, folds=1):
    """Lessons of models that are off each in its own way, and what the one in use is off by."""
    off = rng.normal(0, 0.5, folds + 1)
    lessons = [
        {"missing": "", "fold": number % folds, "scores": {"x": off[number % folds] + one}}
        for number, one in enumerate(rng.normal(0, 1, count))
    ]
    return lessons, (off[0] if folds == 1 else off[-1])


@pytest.mark.parametrize("folds", [1, 5])
@pytest.mark.parametrize("level", [0.8, 0.9])
def test_a_bound_holds_as_often_as_promised(level, folds):
    rng, held, draws = np.random.default_rng(0), 0, 4000
    for _ in range(draws):
        lessons, off = taught(rng, 60, folds)
        sure = strict(level, made(lessons))
        held += off + rng.normal() <= bound(gathered(lessons)["x"], sure)
    assert held / draws > level - 0.02
    if folds == 1:
        assert held / draws < level + 0.02


def test_of_several_models_half_the_error_is_allowed():
    one, several = ({"models": count} for count in (1, 5))
    assert strict(0.9, one) == strict(0.9, {}) == 0.9
    assert strict(0.9, several) == pytest.approx(0.95)
    assert (least(0.9), least(0.95)) == (9, 19)
