"""What held-out cases promise: as much as order statistics can, and of another model less."""

import numpy as np
import pytest

from oncoseg.blocks.held_out import bound, gathered, least, made, strict


def covered(level, folds):
    """How often a bound holds a new score: as it is asked for, and with half the error allowed.

    Each model is off in its own way, by as much as the cases of one differ; that of all cases too.
    """
    rng, held, draws = np.random.default_rng(0), np.zeros(2), 3000
    for _ in range(draws):
        off = rng.normal(0, 1, folds + 1)
        lessons = [
            {"missing": "", "fold": number % folds, "scores": {"x": off[number % folds] + one}}
            for number, one in enumerate(rng.normal(0, 1, 60))
        ]
        scores, new = gathered(lessons)["x"], off[-1 if folds > 1 else 0] + rng.normal()
        held += [new <= bound(scores, one) for one in (level, strict(level, made(lessons)))]
    return held / draws


@pytest.mark.parametrize("level", [0.8, 0.9])
def test_a_bound_holds_as_often_as_promised(level):
    plain, stricter = covered(level, folds=1)
    assert plain == stricter == pytest.approx(level, abs=0.02)


@pytest.mark.parametrize("level", [0.8, 0.9])
def test_of_another_model_it_holds_only_with_half_the_error(level):
    plain, stricter = covered(level, folds=3)
    assert plain < level - 0.02
    assert stricter > level


def test_of_several_models_half_the_error_is_allowed():
    one, several = ({"models": count} for count in (1, 5))
    assert strict(0.9, one) == strict(0.9, {}) == 0.9
    assert strict(0.9, several) == pytest.approx(0.95)
    assert (least(0.9), least(0.95)) == (9, 19)
