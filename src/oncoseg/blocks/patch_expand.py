"""Patch expanding: channels become neighbours, the inverse of merging (Cao 2021, Swin-Unet)."""

from __future__ import annotations

from torch import Tensor, nn

from oncoseg.blocks.norm import LayerNorm


class PatchExpand(nn.Module):
    """A linear map without bias, whose channels are dealt to `factor` places an axis, then norm."""

    def __init__(self, dims: int, inputs: int, width: int, factor: int = 2) -> None:
        super().__init__()
        self.dims, self.factor = dims, factor
        self.expand = nn.Linear(inputs, factor**dims * width, bias=False)
        self.norm = LayerNorm(width)

    def forward(self, features: Tensor) -> Tensor:
        """(B, *S, inputs) -> (B, *S factor, width)."""
        dims, sizes = self.dims, [int(size) * self.factor for size in features.shape[1:-1]]
        places = self.expand(features).unflatten(-1, (*(self.factor,) * dims, -1))
        pairs = [place for axis in range(dims) for place in (1 + axis, 1 + dims + axis)]
        dealt = places.permute(0, *pairs, 2 * dims + 1)
        found: Tensor = self.norm(dealt.reshape(-1, *sizes, dealt.shape[-1]))
        return found
