"""Probabilistic U-Net: a U-Net and a latent code whose draws are whole plausible segmentations."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from oncoseg.blocks.convs import CONV, POOL, seen, stage
from oncoseg.blocks.pyramid import descended, finest, stretched
from oncoseg.case import Batch, Task
from oncoseg.errors import BadOption
from oncoseg.registry import Card
from oncoseg.trainable import Network

CARD = Card(
    "A Probabilistic U-Net for Segmentation of Ambiguous Images",
    2018,
    arxiv="1806.05034",
    reading="Instance norms in the U-Net are ours (the two latent networks have none, as "
    "published), and so is the mask of presence that the image enters with. In two minutes "
    "of a core it falls behind the U-Net on polyps (docs/networks), since its steps are "
    "fewer: after as many, the U-Net has about as much.",
)


class ProbabilisticUnet(Network):
    """Stages of `blocks` convolutions, pooled by `task.strides`, widths doubling up to `limit`.

    A latent z of `latent` numbers is laid over the finest features and goes through `combine`
    1 x 1 convolutions to logits. `prior` maps an image to a Gaussian of z, `posterior` an image
    with its label; only training needs the latter. Forward takes the mean of the prior; `samples`
    draws from it. Only the last convolutions are repeated for another z: see `at`.
    """

    gives = ("posterior", "draws")

    def __init__(
        self,
        task: Task,
        *,
        width: int = 32,
        limit: int = 192,
        blocks: int = 3,
        latent: int = 6,
        combine: int = 3,
    ) -> None:
        super().__init__()
        if min(width, blocks, latent, combine) < 1:
            raise BadOption("ProbabilisticUnet takes width, blocks, latent, combine of at least 1")
        dims, one = task.dims, (1,) * task.dims
        self.dims = dims
        self.widths = [min(limit, width * 2**level) for level in range(len(task.strides) + 1)]
        self.strides = [one, *task.strides]
        inputs = [2 * task.inputs, *self.widths]
        self.encoder = nn.ModuleList(
            stage(dims, first, width, one, blocks) for first, width in zip(inputs, self.widths)
        )
        finer = pairwise(self.widths)
        self.decoder = nn.ModuleList(
            stage(dims, fine + coarse, fine, one, blocks) for fine, coarse in finer
        )
        head: list[nn.Module] = []
        for place in range(combine):
            extra = latent if place == 0 else 0
            head += [CONV[dims](self.widths[0] + extra, self.widths[0], 1), nn.ReLU(inplace=True)]
        self.combine = nn.Sequential(*head, CONV[dims](self.widths[0], task.outputs, 1))
        self.apply(_initialise)
        shape = (self.widths, self.strides, blocks, latent)
        self.prior = Latent(dims, 2 * task.inputs, *shape)
        self.posterior = Latent(dims, 2 * task.inputs + task.outputs, *shape, labelled=True)

    def encode(self, batch: Batch) -> list[Tensor]:
        """Features (B, widths[i], *S / product of strides up to i), finest first."""
        features = seen(batch.image, batch.present)
        pyramid = []
        for layers, stride in zip(self.encoder, self.strides):
            features = layers(_pooled(features, stride))
            pyramid.append(features)
        return pyramid

    def decode(self, pyramid: list[Tensor], batch: Batch) -> list[Tensor]:
        """Logits (B, outputs, *S) at the mean of the prior, one level."""
        return [self.at(self.features(pyramid), self.prior(batch)[0])]

    def features(self, pyramid: list[Tensor]) -> Tensor:
        """Pyramid -> finest features (B, widths[0], *S), before anything is drawn."""
        return finest(descended(pyramid, (), self.decoder, stretched))

    def at(self, features: Tensor, code: Tensor) -> Tensor:
        """Finest features and z (B, latent) -> logits (B, outputs, *S)."""
        tiled = code.reshape(*code.shape, *(1,) * self.dims).expand(-1, -1, *features.shape[2:])
        logits: Tensor = self.combine(torch.cat([features, tiled.to(features.dtype)], dim=1))
        return logits

    def samples(self, batch: Batch, count: int) -> Tensor:
        """(count, B, outputs, *S): logits at draws from the prior, by torch's generator."""
        features = self.features(self.encode(batch))
        mean, deviation = self.prior(batch)
        draws = [mean + deviation * torch.randn_like(mean) for _ in range(count)]
        return torch.stack([self.at(features, code) for code in draws])


class Latent(nn.Module):
    """A Gaussian of the latent code, read from an image and, if `labelled`, from its label too.

    Convolutions and ReLU without norms, which would hide how large a structure is.
    """

    def __init__(
        self,
        dims: int,
        inputs: int,
        widths: Sequence[int],
        strides: Sequence[tuple[int, ...]],
        blocks: int,
        latent: int,
        *,
        labelled: bool = False,
    ) -> None:
        super().__init__()
        self.strides, self.labelled = strides, labelled
        self.stages = nn.ModuleList(
            _plain(dims, first, width, blocks) for first, width in zip([inputs, *widths], widths)
        )
        self.apply(_initialise)
        self.code = nn.Linear(widths[-1], 2 * latent)

    def forward(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of z, (B, latent) each."""
        features = seen(batch.image, batch.present)
        if self.labelled:
            features = torch.cat([features, batch.label.to(features.dtype) - 0.5], dim=1)
        for layers, stride in zip(self.stages, self.strides):
            features = layers(_pooled(features, stride))
        mean, logarithm = self.code(features.flatten(2).mean(-1)).float().chunk(2, dim=1)
        return mean, logarithm.exp()


def _plain(dims: int, inputs: int, width: int, blocks: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for place in range(blocks):
        first = inputs if place == 0 else width
        layers += [CONV[dims](first, width, 3, padding=1), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers)


def _pooled(features: Tensor, stride: tuple[int, ...]) -> Tensor:
    if max(stride) == 1:
        return features
    pool: Any = POOL[features.ndim - 2]
    pooled: Tensor = pool(features, stride, stride, ceil_mode=True)
    return pooled


def _initialise(module: nn.Module) -> None:
    if isinstance(module, (nn.Conv2d, nn.Conv3d)):
        nn.init.kaiming_normal_(module.weight)
        if module.bias is not None:
            nn.init.trunc_normal_(module.bias, std=0.001)
