"""What the organisers' code says of lesions that are close, missed, invented or small."""

import numpy as np
import pytest

from oncoseg import build
from oncoseg.errors import BadOption

SHAPE, MM = (40, 20, 20), (1.0, 1.0, 1.0)


def cubes(*starts, size=4):
    """Cubes of 64 voxels, from these places along the first axis."""
    made = np.zeros(SHAPE, bool)
    for start in starts:
        made[start : start + size, 8 : 8 + size, 8 : 8 + size] = True
    return made


def brats(prediction, truth, **options):
    words = ",".join(f"{name}={value}" for name, value in options.items())
    return build("metrics", f"brats_dice:{words}" if words else "brats_dice")(prediction, truth, MM)


def test_missed_and_invented_lesions_count_as_zero():
    assert brats(cubes(2), cubes(2, 20)) == 1 / 2
    assert brats(cubes(2, 20), cubes(2)) == 1 / 2
    assert brats(cubes(2, 30), cubes(2, 20)) == 1 / 3


def test_what_touches_when_grown_is_one_lesion():
    """A gap of 6 voxels: 3 + 3 touch; of 8 they do not, as a voxel lies between."""
    near, far = cubes(2, 12), cubes(2, 14)
    assert brats(cubes(2), near) == pytest.approx(2 * 64 / (64 + 128))
    assert brats(cubes(2), far) == 1 / 2
    assert brats(cubes(2), near, dilation=1) == 1 / 2


def test_a_predicted_lesion_near_a_true_one_is_its_own_and_not_invented():
    beside = cubes(2) | cubes(8)  # 3 voxels away, reached by growing
    assert brats(beside, cubes(2)) == pytest.approx(2 * 64 / (64 + 128))
    assert brats(cubes(8), cubes(2)) == 0
    assert brats(cubes(2) | cubes(9), cubes(2)) == 1 / 2  # one more voxel away: invented


def test_one_predicted_lesion_may_belong_to_two_true_ones():
    bridge = cubes(2, 20)
    bridge[2:24, 9, 9] = True  # 14 voxels between both
    assert brats(bridge, cubes(2, 20)) == pytest.approx(2 * 64 / (64 + 142))


def test_small_true_lesions_are_not_asked_for_small_invented_ones_count():
    small = cubes(20, size=3)  # 27 mm³
    assert brats(cubes(2), cubes(2) | small) == 1
    assert brats(cubes(2) | small, cubes(2) | small) == 1
    assert brats(cubes(2) | small, cubes(2)) == 1 / 2
    assert brats(cubes(2), cubes(2) | small, volume_mm3=26) == 1 / 2
    assert brats(cubes(2), cubes(2) | small, volume_mm3=27) == 1  # exactly as much is too small
    assert brats(np.zeros(SHAPE, bool), small) == 1


def test_the_volume_is_in_millimetres():
    small = cubes(2, size=3)
    nothing = np.zeros(SHAPE, bool)
    metric = build("metrics", "brats_dice")
    assert metric(nothing, small, (1, 1, 1)) == 1
    assert metric(nothing, small, (1, 1, 2)) == 0


def test_options_that_make_no_sense_are_refused():
    with pytest.raises(BadOption, match="take 0 or more, not -1"):
        build("metrics", "brats_dice:dilation=-1")
