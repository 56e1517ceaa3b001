"""Specificity: the part of the voxels outside of the truth that was left out."""

from __future__ import annotations

from collections.abc import Sequence

from oncoseg.blocks.surface import pair
from oncoseg.case import Array
from oncoseg.parts import Metric
from oncoseg.registry import Card

CARD = Card(
    "Metrics reloaded: recommendations for image analysis validation",
    2024,
    doi="10.1038/s41592-023-02151-z",
)


class Specificity(Metric):
    """|neither P nor T| / |not T|, counted in voxels of the whole image.

    Best for who predicts nothing, and near 1 wherever images are large: never alone.
    """

    one_sided = True
    empty = "1 if the prediction is empty; 1 if the truth fills the image, whatever was predicted"

    def __call__(self, prediction: Array, truth: Array, spacing: Sequence[float]) -> float:
        """Boolean masks (*S), spacing in mm -> 0 to 1."""
        found = pair(prediction, truth, spacing).counts
        outside = found.image - found.true
        left_out = outside - (found.predicted - found.both)
        return left_out / outside if outside else 1.0
