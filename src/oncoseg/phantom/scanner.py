"""From tissues to sequences: contrasts with scatter, partial volume, thick slices, noise, bias."""

from __future__ import annotations

from typing import Literal

import numpy as np

from oncoseg.case import Array
from oncoseg.phantom import fields
from oncoseg.phantom.anatomy import CSF, GM, LESION, NUCLEUS, OUTSIDE, STEM, TISSUES, WM
from oncoseg.phantom.fields import noise

Contrast = Literal["typical", "random"]
COLUMNS = (*TISSUES, "ncr", "ed", "et")
NCR, ED, ET = range(len(TISSUES), len(COLUMNS))
# Means in parts of normal white matter, in the order of COLUMNS, and each one's scatter below.
MEANS = {
    "t1": (0.30, 0.32, 0.84, 1.00, 0.88, 0.95, 0.45, 0.50, 0.82, 0.77, 0.83, 0.83),
    "t1ce": (0.35, 0.34, 0.87, 1.00, 0.92, 0.96, 1.75, 1.50, 0.86, 0.84, 0.86, 1.52),
    "t2": (0.50, 3.60, 1.45, 1.00, 1.05, 1.05, 0.45, 2.20, 1.50, 2.25, 2.15, 1.95),
    "flair": (0.60, 0.40, 1.08, 0.95, 1.00, 1.00, 0.55, 0.90, 1.25, 1.20, 1.35, 1.22),
}
SCATTER = (0.20, 0.10, 0.03, 0.00, 0.03, 0.03, 0.25, 0.25, 0.10, 0.12, 0.06, 0.10)


def means(modality: str, rng: np.random.Generator, contrast: Contrast) -> Array:
    """The mean of each of `COLUMNS` in one sequence of one patient.

    An unknown sequence is drawn at random.
    """
    if contrast == "typical" and modality in MEANS:
        # The parts of one tumour are bright together.
        shift = np.ones(len(COLUMNS))
        shift[NCR:] = np.exp(rng.normal(0, 0.03 if modality == "t1" else 0.10))
        return np.array(MEANS[modality]) * np.exp(rng.normal(0, SCATTER)) * shift
    table = rng.uniform(0.25, 1.6, len(COLUMNS))
    table[[NUCLEUS, STEM]] = rng.uniform(np.minimum(table[GM], table[WM]), table[GM], 2)
    bright = max(table[GM], table[WM])
    if modality in ("flair", "t2"):
        table[[NCR, ED, ET]] = bright * rng.uniform((0.9, 1.25, 1.05), (2.0, 2.0, 1.8))
        table[LESION] = bright * rng.uniform(1.05, 1.5)
        if modality == "flair":
            table[CSF] = min(table[GM], table[WM]) * rng.uniform(0.2, 0.9)
    if modality == "t1ce":
        table[ET] = bright * rng.uniform(1.4, 2.4)
        table[CSF] = min(table[CSF], 0.9 * table[ET])
        table[NCR] = bright * rng.uniform(0.4, 1.0)
        table[ED] = bright * rng.uniform(0.6, 1.0)
    return table


def expose(
    modality: str,
    tissue: Array,
    label: Array,
    rng: np.random.Generator,
    axes: fields.Axes,
    *,
    contrast: Contrast = "typical",
) -> Array:
    """One sequence on the grid of `axes`, in parts of white matter, 0 outside the brain."""
    table = means(modality, rng, contrast).astype(np.float32)
    mapped = tissue.copy()
    for value, column in ((1, NCR), (2, ED), (4, ET)):
        mapped[label == value] = column
    texture = np.array([0.02] * len(TISSUES) + [0.10, 0.06, 0.11], dtype=np.float32)
    texture[NCR:] *= {"t2": 1.8, "t1ce": 1.3}.get(modality, 1)
    if modality == "t1ce":
        texture[ET] = 0.25
    grain = noise(rng, axes, 2.5) * 0.6 + noise(rng, axes, 7.0) * 0.8
    clean = table[mapped] * (1 + texture[mapped] * grain)
    clean *= np.exp(rng.uniform(0.04, 0.13) * noise(rng, axes, 50))
    image = acquire(np.maximum(clean, 0.02), rng, axes)
    image[tissue == OUTSIDE] = 0
    return image


def acquire(clean: Array, rng: np.random.Generator, axes: fields.Axes) -> Array:
    """Partial volume in the voxels of the acquisition, Rician noise there, and resampling back.

    Acquired voxels are about 1 mm, in one direction often 2 to 6 mm.
    """
    steps = rng.uniform(0.9, 1.2, 3)
    if rng.random() < 0.6:
        steps[rng.choice(3, p=(0.1, 0.1, 0.8))] = rng.uniform(2.0, 6.0)
    grids = [
        np.arange(axis.min() - rng.uniform(0, 1) * step, axis.max() + step, step)
        for axis, step in zip(axes, np.maximum(steps, [abs(a[1] - a[0]) for a in axes]))
    ]
    down = [
        fields.gaussian(grid, axis, 0.45 * (grid[1] - grid[0])) for grid, axis in zip(grids, axes)
    ]
    up = [fields.cubic(axis, grid) for axis, grid in zip(axes, grids)]
    slab = fields.resample(clean, down)
    sigma = rng.uniform(0.01, 0.035)
    real = slab + sigma * rng.standard_normal(slab.shape, dtype=np.float32)
    other = sigma * rng.standard_normal(slab.shape, dtype=np.float32)
    return np.maximum(fields.resample(np.hypot(real, other), up), 1e-3)
