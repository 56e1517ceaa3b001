import numpy as np
from scipy.spatial.distance import cdist

from oncoseg import build


def test_the_farthest_of_all_points_decides():
    generator = np.random.default_rng(3)
    prediction, truth = (generator.random((5, 6, 4)) > 0.8 for _ in range(2))
    spacing = (1.0, 0.5, 3.0)
    table = cdist(np.argwhere(prediction) * spacing, np.argwhere(truth) * spacing)
    largest = max(table.min(axis=0).max(), table.min(axis=1).max())
    assert build("metrics", "hd")(prediction, truth, spacing) == largest
