"""The digital phantom of the Image Biomarker Standardization Initiative, as its manual prints it.

Slices along z, in them lines along y, in them grey levels along x; a dot is outside of the region.
Phantom: CC BY 4.0, https://github.com/theibsi/data_sets. Values are those of "dig. phantom" in
chapter 3 of the manual, https://arxiv.org/abs/1612.07003, with its tolerance where it gives one,
else half a unit of the last digit that is printed.
"""

import numpy as np

from oncoseg import Grid

SLICES = (
    ("14411", "14611", "41641", "44641"),
    ("14411", "11611", ".1311", "44611"),
    ("144..", "11111", "11.11", "11611"),
    ("144..", "11111", "11111", "11611"),
)
OUTSIDE = 9.0  # that no voxel of the region has
LEVELS = np.array([[[*line.replace(".", "9")] for line in part] for part in SLICES], float).T
MASK = LEVELS != OUTSIDE
GRID = Grid((5, 4, 4), np.diag([-2.0, -2, 2, 1]))

MORPHOLOGY = {
    "mesh volume": (556, 4),
    "voxel volume": (592, 4),
    "surface area": (388, 3),
    "surface to volume ratio": (0.698, 0.004),
    "compactness 1": (0.0411, 0.0003),
    "compactness 2": (0.599, 0.004),
    "spherical disproportion": (1.19, 0.01),
    "sphericity": (0.843, 0.005),
    "asphericity": (0.186, 0.001),
    "maximum 3-D diameter": (13.1, 0.1),
    "major axis length": (11.4, 0.1),
    "minor axis length": (9.31, 0.06),
    "least axis length": (8.54, 0.05),
    "elongation": (0.816, 0.005),
    "flatness": (0.749, 0.005),
    "volume density (box)": (0.869, 0.005),
    "area density (box)": (0.866, 0.005),
    "volume density (ellipsoid)": (1.17, 0.01),
    "area density (ellipsoid)": (1.36, 0.01),
    "volume density (convex hull)": (0.961, 0.006),
    "area density (convex hull)": (1.03, 0.01),
}


def differing(found, reference):
    """Features that do not lie within the tolerance of their reference value, or are missing."""
    return {
        name: (found.get(name), value, tolerance)
        for name, (value, tolerance) in reference.items()
        if not abs(found.get(name, np.inf) - value) <= tolerance
    }
