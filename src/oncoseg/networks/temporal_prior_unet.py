"""Prior-slice U-Net: each slice is segmented knowing the ones before it, and what they held."""

from __future__ import annotations

import torch
from torch import Tensor

from oncoseg.blocks.conv_lstm import ConvLstm
from oncoseg.blocks.slices import Slicewise, beside
from oncoseg.blocks.supervision import probability
from oncoseg.case import Batch, Task
from oncoseg.errors import BadOption
from oncoseg.registry import Card
from oncoseg.trainable import Network

CARD = Card(
    "Enforcing temporal consistency in Deep Learning segmentation of brain MR images",
    2019,
    arxiv="1906.07160",
    reading="Our reading: no code is public. That slices before enter as channels is the paper's; "
    "that their masks do, that they are left out at random in training, and the LSTM are ours. An "
    "earlier scan of the patient is one modality more. Its loss between slices is not here. Masks "
    "are no default: trained with true ones, it falls for its own. Four hippocampi are learned by "
    "heart to 0.61 where none is left out, 0.75 where half are and 0.88 without masks.",
)
KINDS = ("images", "masks", "lstm")
AGAIN = "it segments slices one after another, each with the masks of those before it"


class TemporalPriorUnet(Network):
    """A 2-D `network` that sweeps along `axis` (0: sagittal where scans lie as most do).

    It is shown the `priors` slices before each, as channels: their `images`, also their `masks`
    (true ones in training, each left out with probability `drop`; its own in a sweep), or the
    images with an `lstm` at the coarsest features that runs along the sweep. No slice is told of
    those after it. Where there is no slice before, as in 2-D images, all is 0 and not present.
    """

    def __init__(
        self,
        task: Task,
        *,
        network: str = "unet:width=16",
        kind: str = "images",
        priors: int = 2,
        axis: int = 0,
        drop: float = 0.5,
    ) -> None:
        super().__init__()
        if kind not in KINDS or axis not in range(3) or priors < 0 or not 0 <= drop <= 1:
            raise BadOption(
                f"TemporalPriorUnet has kind of {', '.join(KINDS)}, an axis of 0 to 2, priors of "
                f"at least 0 and drop of 0 to 1, not '{kind}', {axis}, {priors} and {drop}"
            )
        self.priors = priors if task.dims == 3 else 0
        self.masked = kind == "masks" and self.priors > 0
        self.exclusive, self.outputs = task.exclusive, task.outputs
        self.axis, self.drop = axis, drop
        self.back = range(1, self.priors + 1)
        steps = [0, *self.back]
        names = [f"{name}-{at}" if at else name for at in steps for name in task.modalities]
        if self.masked:
            names += [f"mask of {name}-{at}" for at in self.back for name in task.regions]
            self.alone = AGAIN
        self.inside = Slicewise(task, network, axis, names)
        self.alone = self.alone or self.inside.network.alone
        self.widths = self.inside.widths
        if kind == "lstm" and task.dims == 3:
            self.lstm = ConvLstm(2, self.widths[-1], self.widths[-1])

    def encode(self, batch: Batch) -> list[Tensor]:
        """Features (B, widths[i], *S_i), whole along the sweep, finest first."""
        if self.masked and not self.training:
            return self._sweep(batch)
        pyramid = self.inside.encode(batch, *self._shown(batch, taught=self.training))
        if hasattr(self, "lstm"):
            along = pyramid[-1].movedim(2 + self.axis, 1)
            pyramid[-1] = (along + self.lstm(along)).movedim(1, 2 + self.axis)
        return pyramid

    def decode(self, pyramid: list[Tensor], batch: Batch) -> list[Tensor]:
        """Logits (B, outputs, *S_i), whole along the sweep, finest first."""
        return self.inside.decode(pyramid, batch, *self._shown(batch, taught=False))

    def _sweep(self, batch: Batch) -> list[Tensor]:
        """The pyramid of one slice after another, each shown what was found in those before it."""
        axis, masks = 2 + self.axis, list[Tensor]()
        found: list[list[Tensor]] = []
        image, present = self._images(batch)
        first = int(self.exclusive)
        for at in range(image.shape[axis]):
            one, there = (each.narrow(axis, at, 1) for each in (image, present))
            size = (len(one), self.outputs - first, *one.shape[2:])
            none = one.new_zeros(size)
            past = [masks[at - back] if back <= at else none for back in self.back]
            known = [torch.full_like(none, back <= at, dtype=torch.bool) for back in self.back]
            shown = torch.cat([one, *past], dim=1), torch.cat([there, *known], dim=1)
            levels = self.inside.encode(batch, *shown)
            logits = self.inside.decode(levels, batch, *shown)[0]
            said = probability(logits, self.exclusive)[:, first:] > 0.5
            masks.append(said.to(one.dtype))
            found.append(levels)
        return [torch.cat(level, dim=axis) for level in zip(*found)]

    def _shown(self, batch: Batch, *, taught: bool) -> tuple[Tensor, Tensor]:
        """What all slices are shown, and where it is there; true masks if they are `taught`."""
        image, present = self._images(batch)
        if not self.masked:
            return image, present
        shape = (len(image), self.outputs - int(self.exclusive), *image.shape[2:])
        mask = image.new_zeros(shape)
        known = torch.zeros_like(mask, dtype=torch.bool)
        if taught and batch.label.shape[1] == self.outputs:  # pretexts have labels of another task
            mask, known = self._true(batch)
        steps = [-back for back in self.back]
        mask, known = (beside(each, self.axis, steps, repeat=False) for each in (mask, known))
        if taught:
            kept = self._kept(known)
            mask, known = mask * kept, known & kept
        return torch.cat([image, mask], dim=1), torch.cat([present, known], dim=1)

    def _images(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Each slice with those before it as channels, and where they are there."""
        image, present = batch.image * batch.present, batch.present
        if not self.priors:
            return image, present
        steps = [0, *(-back for back in self.back)]
        image = beside(image, self.axis, steps, repeat=False)
        return image, beside(present, self.axis, steps, repeat=False)

    def _true(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """True masks of the regions (B, R, *S), 0 where unknown, and whether they are known."""
        first = int(self.exclusive)
        mask = (batch.label[:, first:] > 0.5).to(batch.image.dtype)
        known = batch.annotated[:, first:] & batch.labeled[:, None]
        known = known.view(*known.shape, *[1] * (mask.ndim - 2)).expand_as(mask)
        return mask * known, known

    def _kept(self, known: Tensor) -> Tensor:
        """Which priors of which slices are shown: (B, priors R, ..., n, ...), whole masks each."""
        regions = known.shape[1] // self.priors
        shape = [len(known), self.priors, *[1] * (known.ndim - 2)]
        shape[2 + self.axis] = known.shape[2 + self.axis]
        kept = torch.rand(shape, device=known.device) >= self.drop
        return kept.repeat_interleave(regions, 1)
