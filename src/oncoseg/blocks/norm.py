"""Norms as a CPU should do them: in the layout that convolutions work in, and added up exactly."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

LAYOUT = {4: torch.channels_last, 5: torch.channels_last_3d}
ATEN: Any = torch.ops.aten


def channels_last(module: nn.Module) -> None:
    """Lay out weights of two and of three dimensions as convolutions work in them, in place."""
    for value in (*module.parameters(), *module.buffers()):
        if value.ndim in LAYOUT:
            value.data = value.data.to(memory_format=LAYOUT[value.ndim])


class LayerNorm(nn.LayerNorm):
    """torch's; of bfloat16 on a CPU in float32.

    There it adds up the gradients of weight and bias in the type of the features, and in bfloat16
    a sum stands still once it is 256 times what is added (torch 2.13): over 73,728 tokens the
    gradient of the bias was wrong by 0.98 of itself.
    """

    def forward(self, features: Tensor) -> Tensor:
        """(..., *normalized_shape) -> the same."""
        if features.device.type != "cpu" or features.dtype != torch.bfloat16:
            return super().forward(features)
        return super().forward(features.float()).to(features.dtype)


class NormAct(nn.Module):
    """Instance normalisation (affine), then leaky ReLU of `slope`; 1 is none.

    (B, C, *S) -> the same. On a CPU torch gives up the channels-last layout to normalise items one
    by one, and convolutions take it up again: a quarter of a step in bfloat16 was copies. Here each
    item of a batch in training is a batch of its own, whose normalisation keeps the layout.
    """

    def __init__(self, width: int, slope: float = 0.01, eps: float = 1e-5) -> None:
        super().__init__()
        self.slope, self.eps = slope, eps
        self.weight, self.bias = nn.Parameter(torch.ones(width)), nn.Parameter(torch.zeros(width))

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, *S) -> (B, C, *S)."""
        if self._kept(features):
            found: Tensor = ItemByItem.apply(features, self.weight, self.bias, self.slope, self.eps)
            return found
        return self.act(F.instance_norm(features, weight=self.weight, bias=self.bias, eps=self.eps))

    def act(self, features: Tensor) -> Tensor:
        """The leaky ReLU alone, in place."""
        return features if self.slope == 1 else F.leaky_relu_(features, self.slope)

    def _kept(self, features: Tensor) -> bool:
        """Whether there is a layout to keep, and a gradient to be taken."""
        return (
            features.device.type == "cpu"
            and math.prod(features.shape[2:]) > 1  # torch refuses a single voxel; so do we
            and torch.is_grad_enabled()
            and not torch.compiler.is_compiling()
            and features.is_contiguous(memory_format=LAYOUT[features.ndim])
        )


class ItemByItem(torch.autograd.Function):
    """The same as the two operations, of a batch of items in channels-last layout."""

    @staticmethod
    def forward(
        ctx: Any, features: Tensor, weight: Tensor, bias: Tensor, slope: float, eps: float
    ) -> Tensor:
        """(B, C, *S) -> (B, C, *S)."""
        found, ctx.moments = torch.empty_like(features), []
        for item, target in zip(features.split(1), found.split(1)):
            values, *moments = torch.native_batch_norm(
                item, weight, bias, None, None, training=True, momentum=0, eps=eps
            )
            target.copy_(values)
            ctx.moments.append(moments)
        if slope != 1:
            F.leaky_relu_(found, slope)
        ctx.slope, ctx.eps = slope, eps
        ctx.save_for_backward(features, found, weight)
        return found

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        """The gradient of what comes out -> of features, weight and bias."""
        features, found, weight = ctx.saved_tensors
        gradient = gradient.contiguous(memory_format=LAYOUT[features.ndim])
        if ctx.slope != 1:
            given: Any = {"negative_slope": ctx.slope, "self_is_result": True}
            gradient = ATEN.leaky_relu_backward(gradient, found, **given)
        below, sums = torch.empty_like(features), []
        for item, above, target, moments in zip(
            features.split(1), gradient.split(1), below.split(1), ctx.moments
        ):
            values, *of_affine = ATEN.native_batch_norm_backward(
                above,
                item,
                weight,
                running_mean=None,
                running_var=None,
                save_mean=moments[0],
                save_invstd=moments[1],
                train=True,
                eps=ctx.eps,
                output_mask=[True] * 3,
            )
            target.copy_(values)
            sums.append(of_affine)
        scale, shift = (torch.stack(each).sum(0) for each in zip(*sums))
        return below, scale, shift, None, None
