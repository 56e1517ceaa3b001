"""The digital phantom of the Image Biomarker Standardization Initiative, and what it must give.

Slices along z, in them lines along y, in them grey levels along x, as the manual prints them; out
of the region are a dot, a voxel of 1, and a star, one of 9. Phantom: CC BY 4.0,
https://github.com/theibsi/data_sets. Values: "dig. phantom" in chapter 3 of the manual,
https://arxiv.org/abs/1612.07003 (source: https://github.com/theibsi/ibsi-doc), on all of which
three teams or more agreed. A pair is a value and its published tolerance; where the manual gives no
tolerance a value must agree in the three digits that it is printed with.
"""

import math

import numpy as np

from oncoseg import Grid

SLICES = (
    ("14411", "14611", "41641", "44641"),
    ("14411", "11611", ".1311", "44611"),
    ("144..", "11111", "11*11", "11611"),
    ("144..", "11111", "11111", "11611"),
)
VOXELS = np.array([[[*line] for line in part] for part in SLICES]).T
MASK = np.isin(VOXELS, [".", "*"], invert=True)
LEVELS = np.where(VOXELS == ".", "1", np.where(VOXELS == "*", "9", VOXELS)).astype(float)
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
SPATIAL = {
    "integrated intensity": (1200, 10),
    "centre of mass shift": (0.672, 0.004),
    "Moran's I": (0.0397, 0.0003),
    "Geary's C": (0.974, 0.006),
}
PEAKS = {"local intensity peak": 2.6, "global intensity peak": 3.1}
STATISTICS = {
    "mean": 2.15,
    "variance": 3.05,
    "skewness": 1.08,
    "excess kurtosis": -0.355,
    "median": 1,
    "minimum": 1,
    "10th percentile": 1,
    "90th percentile": 4,
    "maximum": 6,
    "interquartile range": 3,
    "range": 5,
    "mean absolute deviation": 1.55,
    "robust mean absolute deviation": 1.11,
    "median absolute deviation": 1.15,
    "coefficient of variation": 0.812,
    "quartile coefficient of dispersion": 0.6,
    "energy": 567,
    "root mean square": 2.77,
}
HISTOGRAM = {
    **{name: STATISTICS[name] for name in list(STATISTICS)[:-2]},
    "mode": 1,
    "entropy": 1.27,
    "uniformity": 0.512,
    "maximum gradient": 8,
    "level of the maximum gradient": 3,
    "minimum gradient": -50,
    "level of the minimum gradient": 1,
}
VOLUME_HISTOGRAM = {
    "volume at 10 % of intensity": 0.324,
    "volume at 90 % of intensity": 0.0946,
    "intensity at 10 % of volume": 5,
    "intensity at 90 % of volume": 2,
    "volume between 10 % and 90 % of intensity": 0.23,
    "intensity between 10 % and 90 % of volume": 3,
}
# Directions in space averaged, merged; in slices averaged, over slices too.
GLCM = {
    "joint maximum": (0.503, 0.509, 0.519),
    "joint average": (2.14, 2.15, 2.14),
    "joint variance": (3.1, 3.13, 2.69),
    "joint entropy": (2.4, 2.57, 2.05),
    "difference average": (1.43, 1.38, 1.42),
    "difference variance": (3.06, 3.21, 2.9),
    "difference entropy": (1.56, 1.64, 1.4),
    "sum average": (4.29, 4.3, 4.28),
    "sum variance": (7.07, 7.41, 5.47),
    "sum entropy": (1.92, 2.11, 1.6),
    "angular second moment": (0.303, 0.291, 0.368),
    "contrast": (5.32, 5.12, 5.28),
    "dissimilarity": (1.43, 1.38, 1.42),
    "inverse difference": (0.677, 0.688, 0.678),
    "normalised inverse difference": (0.851, 0.856, 0.851),
    "inverse difference moment": (0.618, 0.631, 0.619),
    "normalised inverse difference moment": (0.898, 0.902, 0.899),
    "inverse variance": (0.0604, 0.0574, 0.0567),
    "correlation": (0.157, 0.183, -0.0121),
    "autocorrelation": (5.06, 5.19, 5.09),
    "cluster tendency": (7.07, 7.41, 5.47),
    "cluster shade": (16.6, 17.4, 7),
    "cluster prominence": (145, 147, 79.1),
    "information correlation 1": (-0.157, -0.0288, -0.155),
    "information correlation 2": (0.52, 0.269, 0.487),
}
GLRLM = {
    "short run emphasis": (0.705, 0.729, 0.641),
    "long run emphasis": (3.06, 2.76, 3.78),
    "low grey level run emphasis": (0.603, 0.607, 0.604),
    "high grey level run emphasis": (9.7, 9.64, 9.82),
    "short run low grey level emphasis": (0.352, 0.372, 0.294),
    "short run high grey level emphasis": (8.54, 8.67, 8.57),
    "long run low grey level emphasis": (2.39, 2.16, 3.14),
    "long run high grey level emphasis": (17.6, 15.6, 17.4),
    "grey level non-uniformity": (21.8, 281, 5.2),
    "normalised grey level non-uniformity": (0.43, 0.43, 0.46),
    "run length non-uniformity": (26.9, 328, 6.12),
    "normalised run length non-uniformity": (0.513, 0.501, 0.492),
    "run percentage": (0.68, 0.68, 0.627),
    "grey level variance": (3.46, 3.48, 3.35),
    "run length variance": (0.574, 0.598, 0.761),
    "run entropy": (2.43, 2.62, 2.17),
}
# In space; in slices, averaged over them.
GLSZM = {
    "small zone emphasis": (0.255, 0.363),
    "large zone emphasis": (550, 43.9),
    "low grey level zone emphasis": (0.253, 0.371),
    "high grey level zone emphasis": (15.6, 16.4),
    "small zone low grey level emphasis": (0.0256, 0.0259),
    "small zone high grey level emphasis": (2.76, 10.3),
    "large zone low grey level emphasis": (503, 40.4),
    "large zone high grey level emphasis": (1490, 113),
    "grey level non-uniformity": (1.4, 1.41),
    "normalised grey level non-uniformity": (0.28, 0.323),
    "zone size non-uniformity": (1, 1.49),
    "normalised zone size non-uniformity": (0.2, 0.333),
    "zone percentage": (0.0676, 0.24),
    "grey level variance": (2.64, 3.97),
    "zone size variance": (331, 21),
    "zone size entropy": (2.32, 1.93),
}
GLDZM = {
    "small distance emphasis": (1, 0.946),
    "large distance emphasis": (1, 1.21),
    "low grey level zone emphasis": (0.253, 0.371),
    "high grey level zone emphasis": (15.6, 16.4),
    "small distance low grey level emphasis": (0.253, 0.367),
    "small distance high grey level emphasis": (15.6, 15.2),
    "large distance low grey level emphasis": (0.253, 0.386),
    "large distance high grey level emphasis": (15.6, 21.3),
    "grey level non-uniformity": (1.4, 1.41),
    "normalised grey level non-uniformity": (0.28, 0.323),
    "zone distance non-uniformity": (5, 3.79),
    "normalised zone distance non-uniformity": (1, 0.898),
    "zone percentage": (0.0676, 0.24),
    "grey level variance": (2.64, 3.97),
    "zone distance variance": (0, 0.051),
    "zone distance entropy": (1.92, 1.73),
}
NGTDM = {
    "coarseness": (0.0296, 0.121),
    "contrast": (0.584, 0.925),
    "busyness": (6.54, 2.99),
    "complexity": (13.5, 10.4),
    "strength": (0.763, 2.88),
}
NGLDM = {
    "low dependence emphasis": (0.045, 0.158),
    "high dependence emphasis": (109, 19.2),
    "low grey level count emphasis": (0.693, 0.702),
    "high grey level count emphasis": (7.66, 7.49),
    "low dependence low grey level emphasis": (0.00963, 0.0473),
    "low dependence high grey level emphasis": (0.736, 3.06),
    "high dependence low grey level emphasis": (102, 17.6),
    "high dependence high grey level emphasis": (235, 49.5),
    "grey level non-uniformity": (37.9, 10.2),
    "normalised grey level non-uniformity": (0.512, 0.562),
    "dependence count non-uniformity": (4.86, 3.96),
    "normalised dependence count non-uniformity": (0.0657, 0.212),
    "dependence count percentage": (1, 1),
    "grey level variance": (3.05, 2.7),
    "dependence count variance": (22.1, 2.73),
    "dependence count entropy": (4.4, 2.71),
    "dependence count energy": (0.0533, 0.17),
}


def differing(found, reference):
    """Features that are not within the tolerance of their reference values, or not in both."""
    names = {*found, *reference}
    return {
        name: (found.get(name), reference.get(name))
        for name in sorted(names)
        if name not in found or name not in reference or not agrees(found[name], reference[name])
    }


def agrees(value, published):
    """Whether a value is what was published: within a tolerance, or in three digits."""
    if isinstance(published, tuple):
        return abs(value - published[0]) <= published[1]
    if published == 0:
        return abs(value) < 1e-12
    unit = 10.0 ** (math.floor(math.log10(abs(published))) - 2)
    return abs(value - published) <= 0.5 * unit * (1 + 1e-6)
