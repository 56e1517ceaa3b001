"""SparK: a convolutional encoder sees the patches that are left, and learns to tell the masked."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from oncoseg.blocks.pyramid import shrink
from oncoseg.blocks.sparse import Densify, at, sparse
from oncoseg.case import Batch, Prompts, Task
from oncoseg.errors import BadOption, BadRun
from oncoseg.registry import Card
from oncoseg.trainable import Loss, Method, Network

CARD = Card(
    "Designing BERT for Convolutional Networks: Sparse and Hierarchical Masked Modeling",
    2023,
    arxiv="2301.03580",
    reading="Dense convolutions masked again stand in for sparse ones; the decoder is half as wide "
    "as the encoder at each level, with instance instead of batch norms.",
)
EMPTY = "untrained"


class Spark(Method):
    """Masks `ratio` of the cells of the coarsest grid; L2 on the masked, normalised ones.

    What `encode` uses of the network is trained; its own decoder is left as it was, so the region
    of the model that is kept is called `untrained`: start from it.
    """

    needs = ()
    segments = False

    def __init__(self, network: Network, task: Task, loss: Loss, *, ratio: float = 0.6) -> None:
        super().__init__(network, task, loss)
        if not 0 < ratio < 1:
            raise BadOption(f"Spark takes a ratio between 0 and 1, not {ratio}")
        self.ratio = ratio
        self.used, shapes = reached(network, task)
        self.cells = shapes[-1]
        self.decoder = Densify(task.dims, network.widths, task.inputs)

    @property
    def trained(self) -> Sequence[nn.Module]:
        """What encodes, and the decoder that only pretraining has."""
        return [nn.ParameterList(self.used), self.decoder]

    @classmethod
    def pretext(cls, task: Task, **options: Any) -> Task:
        """A task of one region that says what it is, so that its answer is taken for no tumour."""
        return replace(task, labels={EMPTY: 1}, regions={EMPTY: (EMPTY,)})

    def losses(self, batch: Batch, step: int) -> dict[str, Tensor]:
        """One loss, `reconstruction`."""
        visible = self.draw(batch)
        shape = tuple(batch.image.shape[2:])
        image, covered = batch.image, batch.present * batch.weight
        told = self.decoder(self.encode(batch, visible), visible, shape)
        share = shrink(covered, self.cells)
        mean = shrink(image * covered, self.cells) / share.clamp_min(1e-6)
        square = shrink(image.square() * covered, self.cells) / share.clamp_min(1e-6)
        spread = (square - mean.square()).clamp_min(0).add(1e-6).sqrt()
        target = (image - at(mean, shape)) / at(spread, shape)
        wanted = covered * (1 - at(visible, shape))
        error = (told.float() - target).square() * wanted
        return {"reconstruction": error.sum() / wanted.sum().clamp_min(1)}

    def draw(self, batch: Batch) -> Tensor:
        """Which cells (B, 1, *cells) are visible: as many in each item, and never all or none."""
        total = math.prod(self.cells)
        masked = min(max(1, round(self.ratio * total)), total - 1)
        order = torch.rand(len(batch), total, device=batch.image.device).argsort(1)
        return (order >= masked).float().view(len(batch), 1, *self.cells)

    def encode(self, batch: Batch, visible: Tensor) -> list[Tensor]:
        """The pyramid of what is visible, 0 elsewhere at every level."""
        inside = at(visible, tuple(batch.image.shape[2:]))
        seen = batch.but(image=batch.image * inside, present=batch.present & inside.bool())
        with sparse(self.network, visible):
            pyramid = self.network.encode(seen)
        return [level * at(visible, tuple(level.shape[2:])).to(level.dtype) for level in pyramid]


def reached(network: Network, task: Task) -> tuple[tuple[nn.Parameter, ...], list[tuple[int, ...]]]:
    """The parameters that `encode` uses, found by a gradient, and the shapes of its pyramid."""
    image = torch.zeros(1, task.inputs, *task.patch)
    here, known = torch.ones_like(image), torch.ones(1, task.outputs, dtype=torch.bool)
    inside, site = here[:, :1], torch.zeros(1, dtype=torch.long)
    empty = Prompts.none(image)
    batch = Batch(image, here.bool(), here, inside, known[:, 0], known, site, empty)
    training = network.training
    pyramid = network.eval().encode(batch)
    network.train(training)
    own = [value for value in network.parameters() if value.requires_grad]
    total = torch.stack([level.float().sum() for level in pyramid]).sum()
    if not total.requires_grad:
        name = type(network).__name__
        raise BadRun(f"spark trains what encodes a scan, and in {name} nothing does; use another")
    slopes = torch.autograd.grad(total, own, allow_unused=True)
    used = tuple(value for value, slope in zip(own, slopes) if slope is not None)
    return used, [tuple(level.shape[2:]) for level in pyramid]
