"""BM-MAE: reconstruct masked patches of every modality from a few patches of some of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from torch import Tensor, nn

from oncoseg.blocks.masked_tokens import Reconstruction, draw_visible, first_visible, visible_count
from oncoseg.blocks.resize import padded
from oncoseg.blocks.vit import patchify
from oncoseg.case import Batch, Task
from oncoseg.errors import BadOption
from oncoseg.registry import Card
from oncoseg.trainable import Loss, Method, Network

CARD = Card(
    "Multimodal Masked Autoencoder Pre-training for 3D MRI-based Brain Tumor Analysis with "
    "Missing Modalities",
    2025,
    arxiv="2505.00568",
    reading="Absent tokens are neither shown nor predicted; the error is taken over voxels that "
    "are present. Where no share of many draws fits, tokens are shared evenly. The paper's decoder "
    "is width=384,depth=3,heads=12.",
)
EMPTY = "untrained"


class BmMae(Method):
    """Mean over modalities of the squared error on masked patches; no label is used.

    A share `masked` of an item's tokens is hidden; the shares of the modalities in what stays
    visible are drawn from a flat Dirichlet distribution. The model that is kept holds a pretrained
    transformer; its decoder is new, so its one region is called `untrained`: start from it.
    """

    needs = ("tokens",)
    segments = False

    def __init__(
        self,
        network: Network,
        task: Task,
        loss: Loss,
        *,
        masked: float = 0.75,
        width: int = 96,
        depth: int = 3,
        heads: int = 6,
    ) -> None:
        super().__init__(network, task, loss)
        side, count = self.tokens.patch, task.inputs
        for size in task.patch:
            count *= -(-size // side)
        if not 0 < masked < 1 or visible_count(count, masked) >= count:
            raise BadOption(
                f"BmMae cannot mask {masked:g} of {count} tokens; make the tokens of {side} voxels "
                f"a side smaller or the patch of {'x'.join(map(str, task.patch))} larger"
            )
        if heads < 1 or width % heads:
            raise BadOption(f"BmMae takes heads that divide its width, not {heads} for {width}")
        self.masked = masked
        volume = side**task.dims
        self.decoder = Reconstruction(
            task.modalities, self.tokens.width, width, volume, depth, heads
        )

    @property
    def tokens(self) -> Any:
        """What the network gives: how images become tokens, and the transformer."""
        return self.network.tokens

    @property
    def trained(self) -> Sequence[nn.Module]:
        """The transformer with its tokens, and the light decoder."""
        return [self.tokens, self.decoder]

    @classmethod
    def pretext(cls, task: Task, **options: Any) -> Task:
        """A task of one region that says what it is, so that its answer is taken for no tumour."""
        return replace(task, labels={EMPTY: 1}, regions={EMPTY: (EMPTY,)})

    def losses(self, batch: Batch, step: int) -> dict[str, Tensor]:
        """One loss, `reconstruction`."""
        image, present, tokens, there = self.embedded(batch)
        visible = draw_visible(there, self.masked)
        predicted = self.reconstruct(tokens, there, visible, image.shape[2:])
        weight = patchify(present * padded(batch.weight, self.tokens.patch), self.tokens.patch)
        weight = weight * (there & ~visible).unsqueeze(-1)
        error = (predicted.float() - patchify(image, self.tokens.patch)).square() * weight
        total = weight.sum((0, 2, 3))
        each = error.sum((0, 2, 3)) / total.clamp_min(1)
        return {"reconstruction": each.sum() / (total > 0).sum().clamp_min(1)}

    def embedded(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Image and presence padded to whole patches, tokens (B, M, N, C), which are there."""
        side = self.tokens.patch
        present = padded(batch.present.to(batch.image.dtype), side)
        image = padded(batch.image, side) * present
        return (image, present, *self.tokens.embed(image, present))

    def reconstruct(
        self, tokens: Tensor, there: Tensor, visible: Tensor, shape: Sequence[int]
    ) -> Tensor:
        """Voxels (B, M, N, patch^dims) of all patches from the visible tokens (B, M, N) alone."""
        order, kept, real = first_visible(visible.flatten(1))
        shown = tokens.flatten(1, 2)
        shown = shown.gather(1, kept.unsqueeze(-1).expand(-1, -1, shown.shape[2]))
        state = self.tokens.vit(shown, real)[-1]
        grid = [size // self.tokens.patch for size in shape]
        answer: Tensor = self.decoder(state, real, order, there, grid)
        return answer
