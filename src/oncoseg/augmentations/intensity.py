"""Noise, blur, bias field, brightness, contrast, low resolution and gamma.

Each is drawn for every modality of every item.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from oncoseg.blocks.noise import blur, smooth_field
from oncoseg.blocks.resize import LINEAR
from oncoseg.case import Batch, Task
from oncoseg.registry import Card
from oncoseg.trainable import Augmentation

CARD = Card(
    "nnU-Net: a self-configuring method for deep learning-based biomedical image segmentation",
    2021,
    doi="10.1038/s41592-020-01008-z",
    reading="Our reading: the bias field and the factor `strength` are ours.",
)


class Intensity(Augmentation):
    """Each change happens with its own probability, times `strength`.

    The draws of modalities are independent.
    """

    def __init__(self, task: Task, *, strength: float = 1.0) -> None:
        self.task, self.strength = task, strength

    def __call__(self, batch: Batch) -> Batch:
        """Labels and geometry are left as they are; what is not present stays 0."""
        image = batch.image.clone()
        changes = (
            (0.15, self._noise),
            (0.15, self._blur),
            (0.2, self._bias),
            (0.3, self._brightness),
            (0.3, self._contrast),
            (0.15, self._coarse),
            (0.3, self._gamma),
        )
        for item in range(image.shape[0]):
            for channel in range(image.shape[1]):
                values = image[item, channel][None, None]
                for probability, change in changes:
                    if torch.rand(()) < probability * self.strength:
                        values = change(values)
                image[item, channel] = values[0, 0]
        return batch.but(image=torch.where(batch.present & (batch.image != 0), image, 0))

    def _noise(self, values: Tensor) -> Tensor:
        return values + torch.randn_like(values) * float(torch.rand(()) * 0.3)

    def _blur(self, values: Tensor) -> Tensor:
        return blur(values, [0.5 + float(torch.rand(())) * 0.7] * self.task.dims)

    def _bias(self, values: Tensor) -> Tensor:
        field = smooth_field(values.shape[2:], [3] * self.task.dims, 1, values)
        return values + field * values.std() * 0.3

    def _brightness(self, values: Tensor) -> Tensor:
        return values + (float(torch.rand(())) - 0.5) * 0.6

    def _contrast(self, values: Tensor) -> Tensor:
        return values * (0.7 + 0.7 * float(torch.rand(())))

    def _coarse(self, values: Tensor) -> Tensor:
        """As if acquired at up to twice the spacing along one axis, as clinical scans often are."""
        size = list(values.shape[2:])
        axis = int(torch.randint(self.task.dims, ()))
        less = list(size)
        less[axis] = max(2, round(size[axis] / (1 + 2 * float(torch.rand(())))))
        small = F.interpolate(values, size=less, mode="nearest")
        return F.interpolate(small, size=size, mode=LINEAR[self.task.dims], align_corners=False)

    def _gamma(self, values: Tensor) -> Tensor:
        """A power curve between the smallest and the largest value.

        It is applied to the inverted image half of the time.
        """
        sign = -1 if torch.rand(()) < 0.5 else 1
        low, high = (sign * values).aminmax()
        unit = ((sign * values - low) / (high - low).clamp_min(1e-6)).clamp(0, 1)
        return sign * (unit ** (0.7 + 0.8 * float(torch.rand(()))) * (high - low) + low)
