"""Federated averaging: sites train on their own, and their weights are averaged by case counts."""

from __future__ import annotations

from oncoseg.registry import Card
from oncoseg.trainable import Strategy

CARD = Card(
    "Communication-Efficient Learning of Deep Networks from Decentralized Data",
    2017,
    arxiv="1602.05629",
    reading="Local optimisers are the run's own and keep their moments; every site takes part in "
    "every round.",
)


class Fedavg(Strategy):
    """w = sum_k (n_k / n) w_k over sites k of n_k cases: the contract's own defaults."""
