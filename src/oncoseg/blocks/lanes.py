"""The selective scan of one stretch as many short ones side by side: each step fits in a cache.

A stretch of L places is cut into K lanes of Q. All lanes go one place at a time from a state of
zero, which gives what each adds; from lane to lane a state decays by the sum of its lane's steps;
then all go again from the states that they truly have. Gradients come back in the same way. Shapes
inside: (N, B, D, K), the places of a lane one after another, so that numbers next to one another
in memory are of one kind.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

NUMBERS = 1 << 16  # of all lanes at a place together: a quarter of a megabyte
LEAST = 32  # places of a lane


def scanned(
    u: Tensor, delta: Tensor, into: Tensor, out: Tensor, rate: Tensor, state: Tensor
) -> tuple[Tensor, Tensor]:
    """h_t = exp(delta_t A) h_(t-1) + delta_t B_t u_t, y_t = C_t h_t: y, and the last h.

    u and delta (B, D, L); B `into` and C `out` (B, N, L); A `rate` (D, N); `state` before the first
    place (B, D, N); y (B, D, L). For gradients all states are kept: L should be bounded.
    """
    given = u, delta, into, out, rate, state
    if torch.is_grad_enabled():
        y, last = _Scanned.apply(*given)
        return y, last
    return _Lanes(u, delta, into, out, rate).forth(state, keep=False)


class _Lanes:
    """The lanes of a stretch, and ways along them."""

    def __init__(self, u: Tensor, delta: Tensor, into: Tensor, out: Tensor, rate: Tensor) -> None:
        batch, width, self.length = u.shape
        states = into.shape[1]
        most = max(1, NUMBERS // (batch * width * states))
        self.count = max(1, min(most, self.length // LEAST))
        self.places = -(-self.length // self.count)
        self.delta, self.u = self.cut(delta), self.cut(u)
        self.flow = self.delta * self.u
        self.into, self.out = (self.cut(one.transpose(0, 1))[:, :, :, None] for one in (into, out))
        shape = states, batch, width, self.count
        self.rate = rate.t()[:, None, :, None].expand(shape).contiguous()
        self.decays = torch.mul(self.rate, self.delta[:, None]).exp_()  # (Q, N, B, D, K)
        self.product = torch.empty_like(self.rate)
        self.states = torch.empty(0)

    def cut(self, values: Tensor) -> Tensor:
        """(X, Y, L) -> (Q, X, Y, K); nothing happens at the places behind the end."""
        short = self.count * self.places - self.length
        longer = torch.nn.functional.pad(values, (0, short)) if short else values
        return longer.unflatten(2, (self.count, self.places)).movedim(3, 0).contiguous()

    def joined(self, values: Tensor) -> Tensor:
        """Inverse of `cut`."""
        return values.movedim(0, 3).flatten(2)[..., : self.length]

    def summed(self, one: Tensor, other: Tensor, axis: int) -> Tensor:
        """The sum of a product along an axis."""
        return torch.mul(one, other, out=self.product).sum(axis)

    def step(self, state: Tensor, place: int) -> None:
        """From the state before a place to the one after it."""
        state.mul_(self.decays[place]).addcmul_(self.flow[place], self.into[place])

    def forth(self, state: Tensor, *, keep: bool) -> tuple[Tensor, Tensor]:
        """Y (B, D, L), and the state after the last place (B, D, N); `keep` all between."""
        added = torch.zeros_like(self.rate)
        if self.count > 1:
            for place in range(self.places):
                self.step(added, place)
        self.whole = torch.exp(self.rate * self.delta.sum(0))
        now = torch.empty_like(added)
        last = state.permute(2, 0, 1)
        for lane in range(self.count):
            now[..., lane] = last
            last = self.whole[..., lane] * last + added[..., lane]
        if keep:
            self.states = now.new_empty(self.places + 1, *now.shape)
            self.states[0] = now
        y = self.u.new_empty(self.u.shape)
        for place in range(self.places):
            self.step(now, place)
            y[place] = self.summed(now, self.out[place], 0)
            if keep:
                self.states[place + 1] = now
        if self.count == 1:
            last = now[..., 0]
        return self.joined(y), last.permute(1, 2, 0)

    def back(self, down: Tensor, later: Tensor) -> tuple[Tensor, ...]:
        """Gradients of y and of the last state -> of u, delta, B, C, A and the first state."""
        down = self.cut(down)
        of_state = torch.zeros_like(self.rate)
        if self.count > 1:
            for place in reversed(range(self.places)):
                of_state.addcmul_(down[place], self.out[place]).mul_(self.decays[place])
        reached = torch.empty_like(of_state)
        first = later.permute(2, 0, 1)
        for lane in reversed(range(self.count)):
            reached[..., lane] = first
            first = of_state[..., lane] + self.whole[..., lane] * first
        told = self._told(reached, down)
        if self.count == 1:
            first = reached[..., 0]
        return (*told, first.permute(1, 2, 0))

    def _told(self, reached: Tensor, down: Tensor) -> tuple[Tensor, ...]:
        of_flow, of_delta = torch.empty_like(self.u), torch.empty_like(self.u)
        of_into, of_out = torch.empty_like(self.into), torch.empty_like(self.out)
        of_rate, of_decay = torch.zeros_like(self.rate), torch.empty_like(self.rate)
        for place in reversed(range(self.places)):
            reached.addcmul_(down[place], self.out[place])
            of_flow[place] = self.summed(reached, self.into[place], 0)
            of_into[place, :, :, 0] = self.summed(reached, self.flow[place], 2)
            of_out[place, :, :, 0] = self.summed(self.states[place + 1], down[place], 2)
            reached.mul_(self.decays[place])
            torch.mul(reached, self.states[place], out=of_decay)
            of_delta[place] = self.summed(of_decay, self.rate, 0)
            of_rate.addcmul_(of_decay, self.delta[place])
        return (
            self.joined(of_flow * self.delta),
            self.joined(of_delta.addcmul_(of_flow, self.u)),
            *(self.joined(one[:, :, :, 0]).transpose(0, 1) for one in (of_into, of_out)),
            of_rate.sum((1, 3)).t(),
        )


class _Scanned(torch.autograd.Function):
    """A stretch with its states, which its gradient needs."""

    @staticmethod
    def forward(context: Any, *given: Tensor) -> tuple[Tensor, Tensor]:
        lanes = _Lanes(*given[:-1])
        found = lanes.forth(given[-1], keep=True)
        context.lanes = lanes
        return found

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor, ...]:
        return context.lanes.back(*gradients)
