"""FedProx: each site is held near the weights it received, so that unlike sites drift less."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from oncoseg.errors import BadOption
from oncoseg.registry import Card
from oncoseg.trainable import Method, Strategy

CARD = Card(
    "Federated Optimization in Heterogeneous Networks",
    2020,
    arxiv="1812.06127",
    reading="Every site makes the same number of steps: the paper's partial work is not modelled.",
)


class Fedprox(Strategy):
    """Adds `pull` / 2 * ||w - w_received||^2 to what a site minimises; 0 is federated averaging."""

    def __init__(self, *, pull: float = 0.01) -> None:
        if pull < 0:
            raise BadOption(f"Fedprox takes a pull of 0 or more, not {pull}")
        self.pull = pull

    def hold(self, method: Method, received: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """One loss, `proximal`, over the trained parameters of the network that were received."""
        if not self.pull:
            return {}
        terms = [
            (value - received[name]).float().pow(2).sum()
            for name, value in method.network.named_parameters()
            if value.requires_grad and name in received
        ]
        return {"proximal": 0.5 * self.pull * torch.stack(terms).sum()} if terms else {}
