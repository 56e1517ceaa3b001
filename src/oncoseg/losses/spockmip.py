"""SPOCKMIP: focal Tversky of the segmentation, and of its maximum intensity projections."""

from __future__ import annotations

from torch import Tensor

from oncoseg.blocks.supervision import probability
from oncoseg.errors import BadOption
from oncoseg.registry import Card
from oncoseg.trainable import Loss

CARD = Card(
    "SPOCKMIP: Segmentation of Vessels in MRAs with Enhanced Continuity using Maximum Intensity "
    "Projection as Loss",
    2024,
    arxiv="2407.08655",
    reading="Constants are those of the public code (GPL-3; written anew). There what is projected "
    "is the label of the whole scan, here that of the patch, since the patch is all that is "
    "predicted; coarser levels weigh as the method's deep supervision has it and not 1, 0.66, "
    "0.34. 2-D, projected to lines, and several outputs are ours.",
)
AXES = ("last", "all")


class Spockmip(Loss):
    """Focal Tversky * `volume` + the sum over `axes` of that of projections * `mip`.

    Focal Tversky is (1 - TP / (TP + `alpha` FN + (1 - `alpha`) FP))^`gamma`, `smooth` added above
    and below: of the whole batch, and of each item's projection. `axes` are `all`, or the `last`,
    which runs to the head as most scans lie. Background of exclusive classes is left out, as what
    is not looked for.
    """

    def __init__(
        self,
        *,
        exclusive: bool = True,
        axes: str = "all",
        volume: float = 0.7,
        mip: float = 0.3,
        alpha: float = 0.7,
        gamma: float = 0.75,
        smooth: float = 1.0,
    ) -> None:
        super().__init__(exclusive=exclusive)
        if axes not in AXES:
            raise BadOption(f"Spockmip has axes of {', '.join(AXES)}, not '{axes}'")
        self.axes, self.volume, self.mip = axes, volume, mip
        self.alpha, self.gamma, self.smooth = alpha, gamma, smooth

    def forward(self, logits: Tensor, target: Tensor, weight: Tensor) -> Tensor:
        """Logits, target (B, outputs, *S), weight (B, 1 or outputs, *S) -> scalar, in float32."""
        first = int(self.exclusive)
        weight = weight.float().expand(-1, target.shape[1], *target.shape[2:])[:, first:]
        shares, target = probability(logits, self.exclusive)[:, first:], target[:, first:].float()
        whole = self._mean(shares.transpose(0, 1), target.transpose(0, 1), weight.transpose(0, 1))
        last = shares.ndim - 1
        projected = whole.new_zeros(())
        for axis in range(2, last + 1) if self.axes == "all" else (last,):
            projected = projected + self.projection(shares, target, weight, axis)
        return self.volume * whole + self.mip * projected

    def projection(self, shares: Tensor, target: Tensor, weight: Tensor, axis: int) -> Tensor:
        """Focal Tversky of the maxima along an axis, over what has weight; (B, C, *S) each."""
        there, most = weight > 0, weight.amax(axis).flatten(0, 1)[:, None]
        found = (shares * there).amax(axis).flatten(0, 1)[:, None]
        true = (target * there).amax(axis).flatten(0, 1)[:, None]
        return self._mean(found, true, most)

    def _mean(self, shares: Tensor, target: Tensor, weight: Tensor) -> Tensor:
        """Focal Tversky of each (N, ...), averaged over those that have weight."""
        axes = tuple(range(1, shares.ndim))
        hit = (shares * target * weight).sum(axes)
        missed = ((1 - shares) * target * weight).sum(axes)
        wrong = (shares * (1 - target) * weight).sum(axes)
        below = hit + self.alpha * missed + (1 - self.alpha) * wrong + self.smooth
        # Its slope is infinite where all is right.
        focal = (1 - (hit + self.smooth) / below).clamp_min(1e-7) ** self.gamma
        counted = (weight.sum(axes) > 0).float()
        return (focal * counted).sum() / counted.sum().clamp_min(1)
