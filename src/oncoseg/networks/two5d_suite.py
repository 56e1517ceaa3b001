"""2.5-D: 2-D networks on volumes, with several views, with their neighbours, or joined to 3-D."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from oncoseg import registry
from oncoseg.blocks.conv_lstm import BothWays
from oncoseg.blocks.convs import CONV, ConvNormAct
from oncoseg.blocks.norm import LayerNorm
from oncoseg.blocks.slices import Slicewise, across, beside
from oncoseg.blocks.supervision import mean_logits, probability
from oncoseg.case import Batch, Task
from oncoseg.errors import BadOption
from oncoseg.registry import Card
from oncoseg.trainable import Network

CARD = Card(
    "Bridging 2D and 3D Segmentation Networks for Computation-Efficient Volumetric Medical Image "
    "Segmentation: An Empirical Study of 2.5D Solutions",
    2020,
    arxiv="2010.06163",
    reading="Our reading: the three families that the study compares, each in its simplest form, "
    "round any 2-D network; its own implementations were not seen. All views learn at "
    "once, where the study trains each alone; the hybrid adds logits in place of features. "
    "Slices lie along the axis of the longest voxels, or the last. In two minutes of a "
    "core it falls behind the U-Net on polyps (docs/networks), but learns four polyps by "
    "heart.",
)
KINDS = ("2d", "slices", "lstm", "attention", "conv", "views", "hybrid")
FUSIONS = ("mean", "vote", "conv")
CORRECTION = 16


class Two5dSuite(Network):
    """A 2-D `network` on each slice, and what `kind` adds to it; a 2-D image has but one slice.

    `2d` nothing. Neighbours: `slices` shows it `near` slices on either side as channels; `lstm`
    (one each way) and `attention` (of each pixel to itself in all slices) stand at its coarsest
    features, `conv` (over three slices) at all. `views` has a network for each of the three planes,
    fused by `fuse`: the mean of probabilities, a majority `vote` (trained as the mean), or a `conv`
    that corrects the mean. `hybrid` adds the logits of a 3-D network, `volume`, that sees the
    image and what the 2-D one says.
    """

    def __init__(
        self,
        task: Task,
        *,
        kind: str = "slices",
        network: str = "unet:width=16",
        near: int = 1,
        fuse: str = "mean",
        volume: str = "unet:width=8",
    ) -> None:
        super().__init__()
        if kind not in KINDS or fuse not in FUSIONS or near < 0:
            raise BadOption(
                f"Two5dSuite has kind of {', '.join(KINDS)}, fuse of {', '.join(FUSIONS)} and near "
                f"of at least 0, not '{kind}', '{fuse}' and {near}"
            )
        self.kind = kind if task.dims == 3 else "2d"
        self.fuse, self.exclusive = fuse, task.exclusive
        self.axis = across(task.spacing)
        self.offsets = range(-near, near + 1) if self.kind == "slices" else range(1)
        named = [f"{name}{at:+d}" for at in self.offsets for name in task.modalities]
        names = named if len(self.offsets) > 1 else task.modalities
        axes = (0, 1, 2) if self.kind == "views" else (self.axis,)
        views = [Slicewise(task, network, each, names) for each in axes]
        self.views: Any = nn.ModuleList(views)
        levels = zip(*(view.widths for view in views))
        self.widths = [width for level in levels for width in level]
        self.between = nn.ModuleDict(
            {str(at): BETWEEN[kind](width) for at, width in self._levels_between()}
        )
        if self.kind == "views" and fuse == "conv":
            self.correct = nn.Sequential(
                ConvNormAct(3, 3 * task.outputs, CORRECTION), CONV[3](CORRECTION, task.outputs, 1)
            )
            for value in self.correct[1].parameters():
                nn.init.zeros_(value)  # at first the mean itself
        if self.kind == "hybrid":
            said = tuple(f"says_{at}" for at in range(task.outputs))
            shown = replace(task, modalities=(*task.modalities, *said))
            self.volume: Network = registry.build("networks", volume, shown)
            self.alone = self.volume.alone
        self.alone = self.alone or views[0].network.alone

    def _levels_between(self) -> list[tuple[int, int]]:
        """The levels of the pyramid at which neighbours are asked, and their widths."""
        if self.kind not in BETWEEN:
            return []
        every = list(enumerate(self.widths))
        return every if self.kind == "conv" else every[-1:]

    def _shown(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Image and presence as every slice is shown them."""
        image, present = batch.image * batch.present, batch.present
        if self.kind != "slices":
            return image, present
        return beside(image, self.axis, self.offsets), beside(present, self.axis, self.offsets)

    def encode(self, batch: Batch) -> list[Tensor]:
        """Features (B, widths[i], *S_i), whole along their view's axis, level by level."""
        shown = self._shown(batch)
        found = [view.encode(batch, *shown) for view in self.views]
        pyramid = [features for level in zip(*found) for features in level]
        axis = 2 + self.axis
        for at, module in self.between.items():
            level = int(at)
            features = pyramid[level].movedim(axis, 1)  # (B, n, C, *S)
            pyramid[level] = (features + module(features)).movedim(1, axis)
        return pyramid

    def decode(self, pyramid: list[Tensor], batch: Batch) -> list[Tensor]:
        """Logits (B, outputs, *S_i), finest first; in training those of each view too."""
        shown, count = self._shown(batch), len(self.views)
        found = [
            view.decode(pyramid[at::count], batch, *shown) for at, view in enumerate(self.views)
        ]
        if self.kind == "views":
            first, further = self.fused([levels[0] for levels in found]), found
        elif self.kind == "hybrid":
            solid = self.volume(self._told(batch, found[0][0]))
            first, further = found[0][0] + solid[0], [found[0][1:], solid[1:]]
        else:
            return found[0]
        if not self.training:
            return [first]
        coarser = [logits for levels in further for logits in levels]
        return [first, *sorted(coarser, key=lambda level: (-level.numel(), -level.shape[2]))]

    def fused(self, logits: list[Tensor]) -> Tensor:
        """Logits of several views (B, outputs, *S) -> logits of what they say together."""
        mean = mean_logits(logits, self.exclusive)
        if self.fuse == "conv":
            found: Tensor = mean + self.correct(torch.cat(logits, dim=1))
            return found
        if self.fuse == "mean" or self.training:
            return mean
        return vote_of(logits, mean, exclusive=self.exclusive)

    def _told(self, batch: Batch, logits: Tensor) -> Batch:
        """The batch with what the 2-D network says as further modalities."""
        said = probability(logits, self.exclusive).to(batch.image.dtype)
        image = torch.cat([batch.image, said], dim=1)
        everywhere = torch.ones_like(said, dtype=torch.bool)
        return batch.but(image=image, present=torch.cat([batch.present, everywhere], dim=1))


class AlongSlices(nn.Module):
    """Attention of each pixel to itself in all slices; (B, n, width, h, w) -> the same."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = LayerNorm(width)
        self.ask, self.project = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, features: Tensor) -> Tensor:
        """(B, n, width, h, w) -> the same."""
        size = features.shape
        tokens = features.permute(0, 3, 4, 1, 2).flatten(0, 2)[:, None]
        query, key, value = self.ask(self.norm(tokens)).chunk(3, dim=-1)  # (B h w, 1, n, width)
        found = self.project(F.scaled_dot_product_attention(query, key, value))
        back: Tensor = found.view(size[0], size[3], size[4], size[1], size[2])
        return back.permute(0, 3, 4, 1, 2)


class OverThree(nn.Module):
    """A convolution over three slices and no more; (B, n, width, h, w) -> the same."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.convolve = ConvNormAct(3, width, width, kernel=(3, 1, 1))

    def forward(self, features: Tensor) -> Tensor:
        """(B, n, width, h, w) -> the same."""
        found: Tensor = self.convolve(features.transpose(1, 2)).transpose(1, 2)
        return found


BETWEEN: dict[str, Any] = {
    "lstm": lambda width: BothWays(2, width),
    "attention": AlongSlices,
    "conv": OverThree,
}


def vote_of(logits: list[Tensor], mean: Tensor, *, exclusive: bool) -> Tensor:
    """Logits of what most of several (B, outputs, *S) say; the mean decides where none are most."""
    stacked = torch.stack(logits).float()
    if exclusive:
        votes = F.one_hot(stacked.argmax(2), stacked.shape[2]).sum(0).movedim(-1, 1)
    else:
        votes = (stacked > 0).sum(0)
    share = (votes + probability(mean, exclusive)) / (len(logits) + 1)
    return share.clamp_min(1e-6).log() if exclusive else share.logit(1e-6)
