"""Small contests and claims that tests of comparing and of thresholds share."""

import numpy as np
from scipy import ndimage

from oncoseg import Grid, Prediction
from oncoseg.write import write_volume

SHAPE = (12, 10, 8)
GRID = Grid(SHAPE, np.diag([1.0, 1.0, 2.0, 1.0]))


def label(start=2, size=6, value=1):
    """A label map (*SHAPE) with one box."""
    found = np.zeros(SHAPE, np.uint8)
    found[start : start + size, 2:6, 2:6] = value
    return found


def folder(where, maps):
    """A folder of label maps by case."""
    for case, one in maps.items():
        write_volume(where / f"{case}.nii.gz", one, GRID)
    return where


def many_candidates(task, grid, seed):
    """A prediction with many candidates of one class, some of which are lesions, and the truth."""
    rng = np.random.default_rng(seed)
    fields = (rng.normal(size=grid.shape) for _ in range(2))
    smooth, other = (ndimage.gaussian_filter(field, 1.2) for field in fields)
    half = (7 * smooth - 1).astype(np.float32)
    logits = np.stack([-half, half])
    truth = (smooth + 0.7 * other > 0.17).astype(np.uint8)
    probability = task.probabilities(logits).astype(np.float16)
    case = f"case_{seed}"
    return Prediction(case, task, grid, task.decode(logits), probability, ("image",)), truth
