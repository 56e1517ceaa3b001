"""What the coordinator does: it merges what the sites send, and refuses what cannot be merged."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from oncoseg.case import Array
from oncoseg.errors import BadRun
from oncoseg.federate.site import Update, faults
from oncoseg.trainable import Strategy

# Weights and the number of the round -> what came of each site by name: an update, or why none.
Ask = Callable[[Mapping[str, Array], int], Mapping[str, "Update | str"]]


@dataclass
class Rounds:
    """The rounds of a federation, from the weights `shared` to those merged in the last of them.

    `log` gets a line of JSON a round: cases and mean loss of each site, and what was refused.
    """

    strategy: Strategy
    shared: dict[str, Array]
    log: Path

    def __call__(self, ask: Ask, number: int) -> dict[str, Any]:
        """Round `number` (from 0); raises `BadRun` if no site gave anything that can be merged."""
        began = time.monotonic()
        sent = ask(self.shared, number)
        refused = {site: self.refusal(site, what) for site, what in sorted(sent.items())}
        updates = {
            site: what
            for site, what in sorted(sent.items())
            if isinstance(what, Update) and not refused[site]
        }
        line = {
            "round": number,
            "seconds": round(time.monotonic() - began, 1),
            "sites": {
                site: {"cases": update.cases, "loss": finite(update.loss)}
                for site, update in updates.items()
            },
            "refused": {site: cause for site, cause in refused.items() if cause},
        }
        with self.log.open("a", encoding="utf-8") as handle:
            handle.write(json.dumps(line, ensure_ascii=False) + "\n")
        if not updates:
            causes = "; ".join(cause for cause in refused.values() if cause) or "no site answered"
            raise BadRun(f"round {number} has nothing to merge: {causes}")
        self.shared = merged(self.strategy, updates)
        return line

    def refusal(self, site: str, what: Update | str) -> str:
        """The sentence that says why nothing of a site is merged, "" if it is."""
        if isinstance(what, str):
            return f"site {site} gave no update: {what}"
        fault = faults(what.weights, self.shared)
        if not fault and what.cases < 1:
            fault = "says that it has no cases"
        return f"the update of site {site} was left out, since it {fault}" if fault else ""


def merged(strategy: Strategy, updates: Mapping[str, Update]) -> dict[str, Array]:
    """The strategy's mean of the sites' parameters, weighted by their numbers of cases."""
    states = [
        {name: torch.from_numpy(value) for name, value in update.weights.items()}
        for update in updates.values()
    ]
    together = strategy.merge(states, [update.cases for update in updates.values()])
    return {name: value.numpy() for name, value in together.items()}


def finite(value: float) -> float | None:
    """A figure for JSON, which knows no NaN."""
    return round(value, 6) if math.isfinite(value) else None
