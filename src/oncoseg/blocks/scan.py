"""State-space blocks: the selective scan, step by step and in parallel, and the Mamba block.

For each channel d with N states: h_t = exp(delta_t A) h_(t-1) + delta_t B_t u_t, and
y_t = C_t h_t + skip u_t (Gu and Dao 2023, arXiv 2312.00752, section 3). Shapes: u and delta
(B, D, L); A (D, N), negative; B and C (B, N, L); skip (D,); y (B, D, L).
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from oncoseg.blocks.chunks import chunked

CHUNK = 512
# Why a network that scans whole images is not exported.
ALONE = "its scans run over all voxels, too long to be unrolled into a graph"


def sequential(
    u: Tensor, delta: Tensor, rate: Tensor, into: Tensor, out: Tensor, skip: Tensor
) -> Tensor:
    """The definition, one step after another: the reference that `selective_scan` is held against.

    `rate` is A, `into` B and `out` C.
    """
    state = u.new_zeros(*u.shape[:2], rate.shape[1])
    steps = []
    for place in range(u.shape[-1]):
        now = delta[..., place, None]
        flow = now * u[..., place, None] * into[:, None, :, place]
        state = torch.exp(now * rate) * state + flow
        steps.append((state * out[:, None, :, place]).sum(-1))
    return torch.stack(steps, dim=-1) + skip[:, None] * u


def selective_scan(
    u: Tensor,
    delta: Tensor,
    rate: Tensor,
    into: Tensor,
    out: Tensor,
    skip: Tensor,
    chunk: int = CHUNK,
) -> Tensor:
    """The same as `sequential`, in parallel inside chunks of the sequence.

    States exist for one chunk at a time: where there are several, each is computed again when
    gradients flow back, so memory grows with L D and not with L D N.
    """
    state = u.new_zeros(*u.shape[:2], rate.shape[1])
    return resumed(u, delta, rate, into, out, skip, state, chunk)[0]


def resumed(
    u: Tensor,
    delta: Tensor,
    rate: Tensor,
    into: Tensor,
    out: Tensor,
    skip: Tensor,
    state: Tensor,
    chunk: int = CHUNK,
) -> tuple[Tensor, Tensor]:
    """`selective_scan` from a state (B, D, N) on: y, and the state after the last step."""
    y, state = chunked(_piece, (u, delta, into, out), (rate,), (state,), chunk)
    return y + skip[:, None] * u, state


def _piece(
    u: Tensor, delta: Tensor, into: Tensor, out: Tensor, rate: Tensor, state: Tensor
) -> tuple[Tensor, Tensor]:
    """One chunk from the state before it: its output (B, D, Q), and the state after it."""
    decay = torch.exp(delta[..., None] * rate[:, None])
    flow = (delta * u)[..., None] * into.transpose(1, 2)[:, None]
    first = flow[:, :, :1] + decay[:, :, :1] * state[:, :, None]
    states = linear_scan(decay, torch.cat([first, flow[:, :, 1:]], dim=2))
    y = (states * out.transpose(1, 2)[:, None]).sum(-1)
    return y, states[:, :, -1]


def linear_scan(decay: Tensor, flow: Tensor) -> Tensor:
    """h_t = decay_t h_(t-1) + flow_t along the last axis but one, from h = 0: (..., L, N) each.

    Nothing is divided and products of decays are the only ones formed, so decays of 0 and sequences
    of any length are exact.
    """
    if not torch.is_grad_enabled():
        return _halved(decay, flow)
    states: Tensor = _LinearScan.apply(decay, flow)
    return states


class _LinearScan(torch.autograd.Function):
    """The scan with its own gradient, which is the same scan from the end."""

    @staticmethod
    def forward(context: Any, decay: Tensor, flow: Tensor) -> Tensor:
        states = _halved(decay, flow)
        context.save_for_backward(decay, states)
        return states

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor, Tensor]:
        decay, states = context.saved_tensors
        none = torch.zeros_like(decay[..., :1, :])
        later = torch.cat([decay[..., 1:, :], none], dim=-2)
        reached = _halved(later.flip(-2), gradients[0].flip(-2)).flip(-2)
        before = torch.cat([none, states[..., :-1, :]], dim=-2)
        return reached * before, reached


def _halved(decay: Tensor, flow: Tensor) -> Tensor:
    """Join neighbours in pairs, scan half as many of them, fill in the places between.

    Work grows with L, the number of operations with log L.
    """
    length = flow.shape[-2]
    if length == 1:
        return flow
    if length % 2:
        states = _halved(decay[..., :-1, :], flow[..., :-1, :])
        last = decay[..., -1:, :] * states[..., -1:, :] + flow[..., -1:, :]
        return torch.cat([states, last], dim=-2)
    early, late = flow[..., 0::2, :], flow[..., 1::2, :]
    onto, over = decay[..., 0::2, :], decay[..., 1::2, :]
    odd = _halved(over * onto, late + over * early)
    between = early[..., 1:, :] + onto[..., 1:, :] * odd[..., :-1, :]
    even = torch.cat([early[..., :1, :], between], dim=-2)
    return torch.stack([even, odd], dim=-2).flatten(-3, -2)


class Mamba(nn.Module):
    """The Mamba block on tokens (B, L, width) -> (B, L, width), in float32 at least.

    Two branches, `expand` times as wide: a causal depth-wise convolution over `kernel` tokens, SiLU
    and the selective scan with `states` states a channel; and a gate, SiLU. Steps delta start
    between 0.001 and 0.1, decay rates at -1 .. -states, as published.
    """

    def __init__(
        self, width: int, *, states: int = 16, kernel: int = 4, expand: int = 2, chunk: int = CHUNK
    ) -> None:
        super().__init__()
        inner, self.rank, self.states = expand * width, math.ceil(width / 16), states
        self.chunk = chunk
        self.enter = nn.Linear(width, 2 * inner, bias=False)
        self.convolve = nn.Conv1d(inner, inner, kernel, groups=inner, padding=kernel - 1)
        self.select = nn.Linear(inner, self.rank + 2 * states, bias=False)
        self.step = nn.Linear(self.rank, inner)
        self.log_rate = nn.Parameter(torch.arange(1.0, states + 1).log().repeat(inner, 1))
        self.skip = nn.Parameter(torch.ones(inner))
        self.leave = nn.Linear(inner, width, bias=False)
        nn.init.uniform_(self.step.weight, -(self.rank**-0.5), self.rank**-0.5)
        with torch.no_grad():
            spread = math.log(0.1) - math.log(0.001)
            steps = torch.exp(torch.rand(inner) * spread + math.log(0.001)).clamp(min=1e-4)
            self.step.bias.copy_(steps + torch.log(-torch.expm1(-steps)))  # softplus gives `steps`

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, L, width) -> (B, L, width); a token is told of those before it alone."""
        with torch.autocast(tokens.device.type, enabled=False):
            exact = tokens.to(torch.promote_types(tokens.dtype, torch.float32))
            features, gate = self.enter(exact).transpose(1, 2).chunk(2, dim=1)
            features = F.silu(self.convolve(features)[..., : tokens.shape[1]])
            sizes = [self.rank, self.states, self.states]
            step, into, out = self.select(features.transpose(1, 2)).split(sizes, dim=-1)
            delta = F.softplus(self.step(step)).transpose(1, 2)
            rate = -torch.exp(self.log_rate)
            into, out = into.transpose(1, 2), out.transpose(1, 2)
            y = selective_scan(features, delta, rate, into, out, self.skip, self.chunk)
            mixed: Tensor = self.leave((y * F.silu(gate)).transpose(1, 2))
        return mixed
