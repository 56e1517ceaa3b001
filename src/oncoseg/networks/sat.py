"""SAT: a text names the structure, its embedding becomes a query that segments it."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from oncoseg.blocks.convs import POOL, seen
from oncoseg.blocks.encoders import encoder_of
from oncoseg.blocks.norm import LayerNorm
from oncoseg.blocks.phrases import WIDTH, embed
from oncoseg.blocks.pixel_decoder import ConvEncoder, PixelDecoder
from oncoseg.blocks.queries import QueryLayer, mlp, tokens
from oncoseg.blocks.vit import sincos_positions
from oncoseg.case import Batch, Task
from oncoseg.errors import BadData, BadOption, MissingExtra
from oncoseg.registry import Card
from oncoseg.trainable import Network

CARD = Card(
    "One Model to Rule them All: Towards Universal Segmentation for Medical Images "
    "with Text Prompts",
    2023,
    arxiv="2312.17183",
    reading="Text is read by a general sentence encoder that stays frozen, not by one trained on "
    "medical knowledge; queries hold no embedding of the modality; projections end without "
    "an activation. What a phrase means beside exclusive classes is our reading. In two "
    "minutes of a core it falls behind the U-Net on polyps (docs/networks), but learns "
    "four polyps by heart.",
)
SAME = 0.999


class Sat(Network):
    """U-Net features, read by one query a name; voxels answer by inner product with the query.

    Without text, the queries are the names of the task's regions (and the word "background" before
    exclusive ones), so the logits are those of the task. With `batch.prompts.text`, a phrase an
    item, the one logit map (B, 1, *S) is the phrase's: positive where the phrase is. For regions it
    is the query's own logit. Beside exclusive classes it is the log-odds of the phrase against all
    of the task's classes but the one whose name is nearest to it: the name of a class gives
    exactly the log-odds of that class. Queries do not see one another: what a region says depends
    neither on the others nor on their order.

    `widths` are the channels of the levels (the last repeats), unless `encoder` names a network.
    The vectors of the names travel with the weights; only a new phrase needs the text encoder.
    The paper's Nano: `widths=64x64x128x256x512x768,dim=768,layers=6,heads=8,hidden=2048,levels=4`.
    """

    gives = ("text",)
    bank: Tensor
    signature: Tensor

    def __init__(
        self,
        task: Task,
        *,
        widths: tuple[int, ...] = (32, 64, 128, 256, 320),
        encoder: str = "",
        blocks: int = 2,
        dim: int = 192,
        layers: int = 3,
        heads: int = 8,
        hidden: int = 768,
        dropout: float = 0.1,
        levels: int = 3,
    ) -> None:
        super().__init__()
        if not widths or min(*widths, blocks, layers, levels) < 1:
            raise BadOption(
                "Sat takes widths, blocks, layers and levels of at least 1, not "
                f"{widths}, {blocks}, {layers} and {levels}"
            )
        count = len(task.strides) + 1
        self.widths = [*widths, *[widths[-1]] * count][:count]
        self.encoder: nn.Module = (
            encoder_of(encoder, task)
            if encoder
            else ConvEncoder(2 * task.inputs, self.widths, task.strides, blocks)
        )
        self.spelled = encoder
        if encoder:
            self.widths = list(self.encoder.widths)  # type: ignore[arg-type]
        if len(self.widths) != count:
            raise BadOption(f"{encoder} has {len(self.widths)} levels, the plan {count}: use unet")
        self.voxels = PixelDecoder(self.widths, task.strides, blocks)
        self.look = mlp(sum(self.widths), dim, dim)
        self.text = mlp(WIDTH, dim, dim)
        self.layers = nn.ModuleList(
            QueryLayer(dim, heads=heads, hidden=hidden, dropout=dropout) for _ in range(layers)
        )
        self.norm = LayerNorm(dim)
        self.masks = nn.ModuleList(
            mlp(dim, 256, width) for width in self.widths[: max(1, min(levels, count - 1))]
        )
        self.scales = [
            tuple(math.prod(axis) for axis in zip(*task.strides[level:], (1,) * task.dims))
            for level in range(count)
        ]
        self.exclusive = task.exclusive
        self._remember((["background"] if task.exclusive else []) + list(task.regions))

    def encode(self, batch: Batch) -> list[Tensor]:
        """Features (B, widths[i], *S / strides up to i), finest first."""
        pyramid: list[Tensor] = (
            self.encoder.encode(batch)  # type: ignore[operator]
            if self.spelled
            else self.encoder(seen(batch.image, batch.present))
        )
        return pyramid

    def decode(self, pyramid: list[Tensor], batch: Batch) -> list[Tensor]:
        """Logits of the task (B, outputs, *S_i), or with text of the phrases (B, 1, *S_i)."""
        told = batch.prompts.text
        vectors = self._phrases(told, len(pyramid[0])) if told else None
        queries = self._queries(vectors, len(pyramid[0]))
        queries = self._read(queries, pyramid)
        decoded = self.voxels(pyramid)
        heads = self.masks if self.training else self.masks[:1]
        logits = [answer(mask(queries), level) for mask, level in zip(heads, decoded)]
        if vectors is None or not self.exclusive:
            return logits
        nearest = (vectors @ self.bank.T).argmax(dim=1)
        return [against(level, nearest) for level in logits]

    def nearest(self, phrases: Sequence[str]) -> list[tuple[str, float]]:
        """For each phrase the name it was trained on that is nearest, and their cosine.

        A phrase far from every name was never learned: whoever asks should be told so.
        """
        found = (torch.from_numpy(embed(phrases)) @ self.bank.cpu().T).max(dim=1)
        pairs = zip(found.indices.tolist(), found.values.tolist())
        return [(self.names[index], float(value)) for index, value in pairs]

    def _phrases(self, told: Sequence[str], size: int) -> Tensor:
        if len(told) != size:
            raise BadData(f"{len(told)} phrases were given for {size} items; give one for each")
        return torch.from_numpy(embed(told)).to(self.bank)

    def _queries(self, vectors: Tensor | None, size: int) -> Tensor:
        """Vectors to answer for (B, queries, 384): the phrase, the task's names, or both."""
        if not self.embedded:
            embed(self.names)  # says which package is missing
        names = self.bank.expand(size, -1, -1)
        if vectors is None:
            return names
        asked = vectors[:, None]
        return torch.cat([asked, names], dim=1) if self.exclusive else asked

    def _read(self, vectors: Tensor, pyramid: list[Tensor]) -> Tensor:
        """Vectors (B, N, 384) -> queries (B, N, dim) that have looked at every scale."""
        pooled = [pool(level, scale) for level, scale in zip(pyramid, self.scales)]
        image = self.look(tokens(torch.cat(pooled, dim=1)))
        places = sincos_positions(pyramid[-1].shape[2:], image.shape[2], image.device)
        queries = self.text(vectors * WIDTH**0.5)
        for layer in self.layers:
            queries = layer(queries, image, places)
        found: Tensor = self.norm(queries)
        return found

    def _remember(self, names: list[str]) -> None:
        """Embed the task's names, or wait for a model file that holds them."""
        self.names, self.embedded = names, True
        self.register_buffer("bank", torch.zeros(len(names), WIDTH))
        self.register_buffer("signature", torch.zeros(32, dtype=torch.uint8))
        try:
            self.bank = torch.from_numpy(embed(names))
        except MissingExtra:
            self.embedded = False
            return
        self.signature = signed(names)
        alike = torch.triu(self.bank @ self.bank.T, diagonal=1) > SAME
        for first, second in alike.nonzero().tolist():
            raise BadOption(
                f"'{names[first]}' and '{names[second]}' read the same to the text encoder; "
                "rename one of the regions"
            )

    def _load_from_state_dict(
        self,
        state_dict: Any,
        prefix: Any,
        local_metadata: Any,
        strict: Any,
        missing_keys: Any,
        unexpected_keys: Any,
        error_msgs: Any,
    ) -> None:
        """Take over vectors only of the same names: another task's would be taken for ours."""
        given = state_dict.get(f"{prefix}signature")
        if given is not None and torch.equal(given.cpu(), signed(self.names)):
            self.embedded = True
        else:
            own = {f"{prefix}bank": self.bank, f"{prefix}signature": self.signature}
            state_dict = {**state_dict, **own}
        lists = (missing_keys, unexpected_keys, error_msgs)
        super()._load_from_state_dict(state_dict, prefix, local_metadata, strict, *lists)


def pool(features: Tensor, scale: tuple[int, ...]) -> Tensor:
    """(B, C, *S) -> (B, C, *S / scale), rounded up: means of what lies under a coarse voxel."""
    uneven = any(size % step for size, step in zip(features.shape[2:], scale))
    pooled: Tensor = POOL[len(scale)](features, scale, scale, ceil_mode=uneven)
    return pooled


def answer(queries: Tensor, voxels: Tensor) -> Tensor:
    """Queries (B, N, C) and features (B, C, *S) -> inner products (B, N, *S), over sqrt(C)."""
    flat = queries @ voxels.flatten(2) / queries.shape[2] ** 0.5
    return flat.unflatten(2, tuple(voxels.shape[2:]))


def against(logits: Tensor, nearest: Tensor) -> Tensor:
    """Log-odds of the first output of (B, 1 + classes, *S) against all but the `nearest` (B,)."""
    rest = logits[:, 1:]
    own = nearest.view(-1, *(1,) * (rest.ndim - 1)) == torch.arange(
        rest.shape[1], device=rest.device
    ).view(1, -1, *(1,) * (rest.ndim - 2))
    return logits[:, :1] - rest.masked_fill(own, -torch.inf).logsumexp(dim=1, keepdim=True)


def signed(names: Sequence[str]) -> Tensor:
    """SHA-256 of the names, as 32 bytes."""
    digest = hashlib.sha256("\n".join(names).encode()).digest()
    return torch.tensor(list(digest), dtype=torch.uint8)
