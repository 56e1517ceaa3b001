"""A checkpoint holds all that a method learns by, and nothing draws by itself: no bit changes."""

import re
from pathlib import Path

import pytest
import torch

from oncoseg import checkpoint, registry
from oncoseg.checkpoint import Progress
from oncoseg.train.loop import Step
from worlds import TASKS, build_method, make_batch, shown

SOURCE = Path(checkpoint.__file__).parent
GLOBAL = re.compile(
    r"^\s*(import random\b|from random import)"
    r"|np\.random\.(?!default_rng|Generator)\w+"
    r"|torch\.(seed|initial_seed)\(|default_rng\(\)",
    re.MULTILINE,
)


def optimiser_of(method):
    return torch.optim.AdamW(
        [value for part in method.trained for value in part.parameters()], lr=3e-3
    )


def learn(method, optimiser, batches, start, stop):
    """Steps as the loop makes them: all randomness from the step."""
    method.train()
    for step in range(start, stop):
        torch.manual_seed(step)
        method.update(batches[step], step, Step(optimiser))
        method.after_step(step)


@pytest.mark.parametrize("name", registry.names("methods"))
def test_going_on_from_a_checkpoint_changes_no_bit(name, tmp_path):
    task = TASKS["2-D regions"]
    batches = [shown(make_batch(task, size=4, seed=seed), name) for seed in range(4)]
    path = tmp_path / "last.safetensors"
    torch.manual_seed(1)
    method = build_method(name, task)
    optimiser = optimiser_of(method)
    learn(method, optimiser, batches, 0, 2)
    checkpoint.save(path, {"method": method}, optimiser, Progress(2))
    learn(method, optimiser, batches, 2, 4)
    torch.manual_seed(2)
    other = build_method(name, task)
    again = optimiser_of(other)
    checkpoint.load(path, {"method": other}, again)
    learn(other, again, batches, 2, 4)
    state = other.state_dict()
    for key, value in method.state_dict().items():
        assert torch.equal(value, state[key]), key


def test_nothing_draws_from_what_the_step_does_not_seed():
    for path in SOURCE.rglob("*.py"):
        found = GLOBAL.search(path.read_text(encoding="utf-8"))
        assert not found, f"{path.relative_to(SOURCE)} draws by {found[0].strip()}"
