"""MaxQuery: object queries cluster the voxels; what is near none of them is strange."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from oncoseg.blocks.convs import CONV, seen
from oncoseg.blocks.norm import LayerNorm
from oncoseg.blocks.pixel_decoder import ConvEncoder, PixelDecoder
from oncoseg.blocks.queries import QueryLayer, mlp, tokens
from oncoseg.blocks.units import levels
from oncoseg.blocks.vit import sincos_positions
from oncoseg.case import Batch, Task
from oncoseg.errors import BadOption
from oncoseg.registry import Card
from oncoseg.trainable import Network

CARD = Card(
    "Devil is in the Queries: Advancing Mask Transformers for Real-world Medical Image "
    "Segmentation and Out-of-Distribution Localization",
    2023,
    arxiv="2304.00212",
    reading="No code is public: cosine similarity, its temperature, the widths, a straight-through "
    "gradient of the k-means assignment and an unsmoothed map are our reading. In two "
    "minutes of a core it falls behind the U-Net on polyps (docs/networks), but learns "
    "four polyps by heart.",
)
TINY = 1e-6


class Maxquery(Network):
    """U-Net features F and object queries q that cluster them; two-stage cluster analysis.

    Response R_n(x) = cos(F(x), q_n); membership M = softmax_n(R / temperature); output
    p(c, x) = sum_n M_n(x) P(c | q_n), with P a softmax over exclusive classes or a sigmoid for
    each region; logits are log p, or log p / (1 - p) of regions. The map `ood` is -max_n R_n(x):
    -1 where a voxel is what some query stands for, 0 and more where it is like nothing learned.

    The temperature is as high as still lets memberships become certain (two opposite queries differ
    by exp(2 / temperature) = 55): a lower one is content with voxels that are far from their query.
    The map is a score, not a promise: on polyp images it did not find what was pasted into them,
    and the largest probability did better (see benchmarks/strange.py).
    Queries are updated by `layers` of k-means cross-attention, self-attention and a perceptron,
    from the coarsest scale of the decoder to finer ones. They come in groups, background first (see
    `sizes`), which only the method `query_distribution` enforces.
    """

    gives = ("queries",)
    maps = ("ood",)

    def __init__(
        self,
        task: Task,
        *,
        widths: tuple[int, ...] = (32, 64, 128, 256, 320),
        blocks: int = 2,
        queries: int = 32,
        features: int = 64,
        dim: int = 256,
        layers: int = 3,
        heads: int = 8,
        hidden: int = 1024,
        temperature: float = 0.5,
    ) -> None:
        super().__init__()
        groups = len(task.regions) if task.exclusive else 1
        share = queries // (2 * groups)
        if min(*widths, blocks, features, layers, share) < 1 or temperature <= 0:
            raise BadOption(
                f"Maxquery takes at least {2 * groups} queries here, widths, blocks, features and "
                f"layers of at least 1, a temperature above 0; "
                f"not {queries}, {widths}, {blocks}, {features}, {layers}, {temperature}"
            )
        count = len(task.strides) + 1
        self.exclusive, self.temperature = task.exclusive, temperature
        self.sizes = (queries - groups * share, *[share] * groups)
        self.widths = levels(widths, count)
        self.encoder = ConvEncoder(2 * task.inputs, self.widths, task.strides, blocks)
        self.voxels = PixelDecoder(self.widths, task.strides, blocks)
        self.point = CONV[task.dims](self.widths[0], features, 1)
        self.start = nn.Parameter(torch.randn(queries, dim))
        coarse = [*reversed(self.widths[1:] or self.widths)]
        self.levels = [count - 1 - layer % len(coarse) for layer in range(layers)]
        self.look = nn.ModuleList(nn.Linear(self.widths[level], dim) for level in self.levels)
        self.layers = nn.ModuleList(
            QueryLayer(dim, heads=heads, hidden=hidden, among=True, hard=True) for _ in self.levels
        )
        self.norm = LayerNorm(dim)
        self.centre = mlp(dim, dim, features)
        self.kind = mlp(dim, dim, task.outputs)

    def encode(self, batch: Batch) -> list[Tensor]:
        """Features (B, widths[i], *S / strides up to i), finest first."""
        pyramid: list[Tensor] = self.encoder(seen(batch.image, batch.present))
        return pyramid

    def decode(self, pyramid: list[Tensor], batch: Batch) -> list[Tensor]:
        """One map of logits (B, outputs, *S)."""
        return [self.logits(*self.respond(pyramid))]

    def answer(self, batch: Batch) -> Tensor:
        """Logits and, as the last channel, how strange each voxel is."""
        responses, kinds = self.respond(self.encode(batch))
        return torch.cat([self.logits(responses, kinds), strangeness(responses)], dim=1)

    def respond(self, pyramid: list[Tensor]) -> tuple[Tensor, Tensor]:
        """Responses R (B, N, *S) in [-1, 1] and class logits a query (B, N, outputs), float32."""
        decoded = self.voxels(pyramid)
        queries = self.start.expand(len(decoded[0]), -1, -1)
        for level, look, layer in zip(self.levels, self.look, self.layers):
            image = look(tokens(decoded[level]))
            places = sincos_positions(decoded[level].shape[2:], image.shape[2], image.device)
            queries = layer(queries, image, places)
        queries = self.norm(queries)
        return cosine(self.point(decoded[0]), self.centre(queries)), self.kind(queries).float()

    def members(self, responses: Tensor) -> Tensor:
        """M (B, N, *S): each voxel's membership of each query, 1 in sum."""
        return (responses / self.temperature).softmax(dim=1)

    def mass(self, responses: Tensor) -> Tensor:
        """(B, groups, *S): the membership that each group of queries holds, 1 in sum."""
        parts = self.members(responses).split(self.sizes, dim=1)
        return torch.cat([part.sum(dim=1, keepdim=True) for part in parts], dim=1)

    def logits(self, responses: Tensor, kinds: Tensor) -> Tensor:
        """Logits (B, outputs, *S) of a mixture of what the queries are."""
        return mixture(self.members(responses), kinds, exclusive=self.exclusive)


def cosine(features: Tensor, queries: Tensor) -> Tensor:
    """Features (B, D, *S) and queries (B, N, D) -> their cosines (B, N, *S), in float32."""
    shape = tuple(features.shape[2:])
    with torch.autocast(features.device.type, enabled=False):
        points = F.normalize(features.float().flatten(2), dim=1)
        return (F.normalize(queries.float(), dim=2) @ points).unflatten(2, shape)


def strangeness(responses: Tensor) -> Tensor:
    """MaxQuery: responses (B, N, *S) -> (B, 1, *S), -1 at a query, 0 at right angles to all."""
    return -responses.amax(dim=1, keepdim=True)


def mixture(members: Tensor, kinds: Tensor, *, exclusive: bool) -> Tensor:
    """Memberships (B, N, *S), class logits (B, N, outputs) -> logits of the mixture's shares."""
    with torch.autocast(members.device.type, enabled=False):
        classes = kinds.softmax(dim=2) if exclusive else kinds.sigmoid()
        shares = classes.transpose(1, 2) @ members.flatten(2)
        shares = shares.unflatten(2, tuple(members.shape[2:]))
        found = (shares + TINY).log()
        return found if exclusive else found - (1 - shares + TINY).log()
