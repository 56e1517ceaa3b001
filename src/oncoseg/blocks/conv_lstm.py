"""Convolutional LSTM: a memory of images, read in a sequence (Shi 2015, arXiv 1506.04214)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from oncoseg.blocks.convs import CONV


class ConvLstm(nn.Module):
    """c = f c + i tanh(g), h = o tanh(c); gates i, f, o and g from one convolution of [x, h].

    Without peepholes. (B, L, inputs, *S) -> (B, L, width, *S); what comes out is told of what came
    before alone, or after alone if read `backwards`.
    """

    def __init__(
        self, dims: int, inputs: int, width: int, kernel: int = 3, *, backwards: bool = False
    ) -> None:
        super().__init__()
        self.width, self.backwards = width, backwards
        self.gates = CONV[dims](inputs + width, 4 * width, kernel, padding=kernel // 2)
        with torch.no_grad():
            self.gates.bias[width : 2 * width] += 1  # remembers at first

    def forward(self, sequence: Tensor) -> Tensor:
        """(B, L, inputs, *S) -> (B, L, width, *S)."""
        steps = list(sequence.unbind(1))
        size = (len(sequence), self.width, *sequence.shape[3:])
        hidden = cell = sequence.new_zeros(size)
        found = []
        for step in reversed(steps) if self.backwards else steps:
            enter, forget, leave, new = self.gates(torch.cat([step, hidden], dim=1)).chunk(4, dim=1)
            cell = forget.sigmoid() * cell + enter.sigmoid() * new.tanh()
            hidden = leave.sigmoid() * cell.tanh()
            found.append(hidden)
        return torch.stack(found[::-1] if self.backwards else found, dim=1)


class BothWays(nn.Module):
    """One convolutional LSTM each way, half as wide each; (B, L, width, *S) -> the same."""

    def __init__(self, dims: int, width: int) -> None:
        super().__init__()
        half = max(1, width // 2)
        self.onward = ConvLstm(dims, width, half)
        self.backward = ConvLstm(dims, width, half, backwards=True)
        self.project = nn.Linear(2 * half, width)

    def forward(self, sequence: Tensor) -> Tensor:
        """(B, L, width, *S) -> the same."""
        both = torch.cat([self.onward(sequence), self.backward(sequence)], dim=2)
        found: Tensor = self.project(both.movedim(2, -1)).movedim(-1, 2)
        return found
