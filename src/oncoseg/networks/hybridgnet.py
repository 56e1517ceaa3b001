"""HybridGNet: an image becomes a code, a code a graph of landmarks, and contours are filled."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from oncoseg.blocks.convs import CONV
from oncoseg.blocks.graphs import (
    ChebConv,
    circle,
    halved,
    looked_up,
    rings,
    scaled_laplacian,
    signed_distance,
    unpooling,
)
from oncoseg.blocks.resize import padded
from oncoseg.blocks.slices import across, cut, joined
from oncoseg.blocks.units import levels
from oncoseg.case import Batch, Task
from oncoseg.errors import BadOption
from oncoseg.registry import Card
from oncoseg.trainable import Network

CARD = Card(
    "Improving Anatomical Plausibility in Medical Image Segmentation via Hybrid Graph Neural "
    "Networks: Applications to Chest X-ray Analysis",
    2022,
    arxiv="2203.10977",
    doi="10.1109/TMI.2022.3224660",
    reading="Sizes are those of the public code (GPL-3.0). Logits are distances to the contour, so "
    "that masks can be learned from; places are offsets from a circle in the middle; batch "
    "norms keep running statistics; a structure that is not there is a contour without "
    "area; volumes go slice by slice: all ours. In two minutes of a core it falls behind "
    "the U-Net on polyps, nuclei and hippocampi (docs/networks): its contours start as "
    "circles in the middle, and of four pictures the smallest polyp is not learned by "
    "heart.",
)
WIDTHS = (2, 4, 8, 16, 32, 32)
WIDEST = 10.0  # variance, as a logarithm: masks alone do not keep it from growing without end
FIRST, LAST = 16, 32  # features of a node before and after the graph is refined


class Hybridgnet(Network):
    """Six residual stages of `width` times 2 to 32, pooled by 2; a code of `latent` numbers.

    The code becomes nodes, half of the `nodes` of each region's closed contour; after two
    convolutions of `order` on the graph they say where they are, look at the image's features
    there, are convolved, doubled and convolved, look again, and say their place. In training the
    code is drawn. Logits are pixels inside the contour, over `edge`. Train by the method
    `landmarks`, or by masks. Published: width=4, nodes=44x50x26, of 1024 x 1024 pixels.
    """

    gives = ("contours",)
    few_laplacian: Tensor
    many_laplacian: Tensor
    few_circle: Tensor
    many_circle: Tensor
    doubling: Tensor

    def __init__(
        self,
        task: Task,
        *,
        width: int = 4,
        nodes: tuple[int, ...] = (32,),
        latent: int = 64,
        order: int = 6,
        edge: float = 2.0,
    ) -> None:
        super().__init__()
        if min(nodes) < 6 or min(width, latent, order) < 1 or edge <= 0:
            raise BadOption(
                "Hybridgnet takes at least 6 nodes, a width, latent and order of at least 1 and an "
                f"edge above 0, not {nodes}, {width}, {latent}, {order} and {edge}"
            )
        self.exclusive, self.edge = task.exclusive, edge
        self.axis = across(task.spacing) if task.dims == 3 else -1
        plane = [size for axis, size in enumerate(task.patch) if axis != self.axis]
        self.nodes = levels(nodes, len(task.regions))
        self.widths = [width * times for times in WIDTHS]
        inputs, deep = [task.inputs, *self.widths], self.widths[-1]
        self.encoder = nn.ModuleList(Residual(a, b) for a, b in zip(inputs, self.widths))
        self.grid = padded_size(plane[0]) // 32, padded_size(plane[1]) // 32
        known = deep * self.grid[0] * self.grid[1]
        self.mean, self.spread = nn.Linear(known, latent), nn.Linear(known, latent)
        few = halved(self.nodes)
        self.start = nn.Linear(latent, FIRST * sum(few))
        nn.init.normal_(self.start.weight, std=0.1)
        look = deep + 2
        self.coarse = nn.ModuleList(
            ChebConv(before, after, order)
            for before, after in ((FIRST, FIRST), (FIRST, FIRST), (FIRST + look, LAST))
        )
        self.fine = nn.ModuleList(ChebConv(a, LAST, order) for a in (LAST, LAST + look))
        self.guesses = nn.ModuleList(ChebConv(a, 2, 1, bias=False) for a in (FIRST, LAST))
        self.place = ChebConv(LAST, 2, 1, bias=False)
        for name, counts in (("few", few), ("many", self.nodes)):
            self.register_buffer(f"{name}_laplacian", scaled_laplacian(rings(counts)))
            self.register_buffer(f"{name}_circle", circle(counts))
        self.register_buffer("doubling", unpooling(self.nodes))

    def encode(self, batch: Batch) -> list[Tensor]:
        """Features (B, widths[i], *S / 2^i) of images padded to multiples of 32, at least 64."""
        image = batch.image * batch.present
        slices = self.flat(image)
        features = padded(slices, [padded_size(size) for size in slices.shape[2:]])
        pyramid = []
        for place, stage in enumerate(self.encoder):
            features = stage(F.max_pool2d(features, 2) if place else features)
            pyramid.append(features if self.axis < 0 else self.whole(features, image))
        return pyramid

    def flat(self, volume: Tensor) -> Tensor:
        """Slices of a volume, (B n, C, rows, columns); an image as it is."""
        return volume if self.axis < 0 else cut(volume, self.axis)

    def whole(self, slices: Tensor, like: Tensor) -> Tensor:
        """Inverse of `flat`."""
        return slices if self.axis < 0 else joined(slices, self.axis, like.shape[2 + self.axis])

    def padded(self, shape: Sequence[int]) -> Tensor:
        """Rows and columns of the padded image, of which places are shares."""
        return torch.tensor([float(padded_size(size)) for size in shape])

    def code(self, pyramid: list[Tensor]) -> tuple[Tensor, Tensor]:
        """Mean and logarithm of the variance (B, latent), of each slice."""
        deepest = self.flat(pyramid[-1])
        if tuple(deepest.shape[2:]) != self.grid:
            deepest = F.adaptive_avg_pool2d(deepest, self.grid)
        flat = deepest.flatten(1)
        return self.mean(flat), self.spread(flat).clamp(max=WIDEST)

    def contours(self, pyramid: list[Tensor], code: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Places (B, N, 2) as (row, column) from 0 to 1 of the padded image, and two guesses.

        The first guess is of the coarser graph (B, coarse, 2). Contours follow one another.
        """
        with torch.autocast(code.device.type, enabled=False):  # half precision moves places
            exact = self.place.weight.dtype
            coarse = [self.flat(level).to(exact) for level in pyramid[-2:]]
            return self._placed(coarse, code.to(exact))

    def _placed(self, features: list[Tensor], code: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """`contours` of the two coarsest maps of slices."""
        few, many = self.few_laplacian, self.many_laplacian
        nodes = F.relu(self.start(code)).unflatten(1, (-1, FIRST))
        for convolve in self.coarse[:2]:
            nodes = active(convolve(nodes, few))
        first = self.few_circle + self.guesses[0](nodes, few)
        nodes = torch.cat([nodes, looked_up(features[1], first), first], dim=-1)
        nodes = self.doubling @ active(self.coarse[2](nodes, few))
        nodes = active(self.fine[0](nodes, many))
        second = self.many_circle + self.guesses[1](nodes, many)
        nodes = torch.cat([nodes, looked_up(features[0], second), second], dim=-1)
        nodes = active(self.fine[1](nodes, many))
        return self.many_circle + self.place(nodes, many), first, second

    def decode(self, pyramid: list[Tensor], batch: Batch) -> list[Tensor]:
        """Logits (B, outputs, *S)."""
        mean, spread = self.code(pyramid)
        if self.training:
            mean = mean + (spread / 2).exp() * torch.randn_like(mean)
        places = self.contours(pyramid, mean)[0]
        shape = [size for axis, size in enumerate(batch.image.shape[2:]) if axis != self.axis]
        depth = [
            signed_distance(contour, shape) / self.edge
            for contour in (places * self.padded(shape).to(places)).split(self.nodes, dim=1)
        ]
        outside = [torch.zeros_like(depth[0])] if self.exclusive else []
        return [self.whole(torch.stack([*outside, *depth], dim=1), batch.image)]


class Residual(nn.Module):
    """Norm, ReLU and convolution, twice, round a projection with a norm; ReLU."""

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.BatchNorm2d(size) for size in (inputs, width))
        self.convs = nn.ModuleList(CONV[2](size, width, 3, padding=1) for size in (inputs, width))
        project = [CONV[2](inputs, width, 1, bias=False), nn.BatchNorm2d(width)]
        self.project = nn.Sequential(*(project if inputs != width else []))

    def forward(self, features: Tensor) -> Tensor:
        """(B, inputs, *S) -> (B, width, *S)."""
        found = features
        for norm, conv in zip(self.norms, self.convs):
            found = conv(F.relu(norm(found)))
        return F.relu(found + self.project(features))


def active(nodes: Tensor) -> Tensor:
    """The features of each node normalised, as the public code's instance norms do, and ReLU."""
    return F.relu(F.layer_norm(nodes, nodes.shape[-1:]))


def padded_size(size: int) -> int:
    """The next multiple of 32, at least 64."""
    return max(64, -(-int(size) // 32) * 32)
