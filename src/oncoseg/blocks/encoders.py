"""Any network as an encoder alone, so that another decoder can be put on it."""

from __future__ import annotations

import copy

import torch

from oncoseg import registry
from oncoseg.case import Batch, Prompts, Task
from oncoseg.errors import BadOption
from oncoseg.trainable import Network


def encoder_of(spelled: str, task: Task) -> Network:
    """A network without the weights that its `encode` does not use; its `decode` is gone.

    Raises `BadOption` if it does not say how wide its pyramid is.
    """
    network: Network = registry.build("networks", spelled, task)
    if not getattr(network, "widths", ()):
        raise BadOption(f"{spelled} does not say how wide its features are; use another encoder")
    for name in _idle(network, task):
        owner, _, leaf = name.rpartition(".")
        setattr(network.get_submodule(owner), leaf, None)
    return network


def _idle(network: Network, task: Task) -> list[str]:
    """Names of the parameters that no feature depends on, from a run in which nothing is computed.

    A network that cannot be run so, because what it does depends on values, is kept whole.
    """
    twin = copy.deepcopy(network).to("meta")
    image = torch.zeros(2, task.inputs, *task.patch, device="meta")
    batch = Batch(
        image=image,
        present=image > 0,
        label=image[:, :0],
        weight=image[:, :1],
        labeled=torch.zeros(2, dtype=torch.bool),
        annotated=torch.zeros(2, task.outputs, dtype=torch.bool),
        domain=torch.zeros(2, dtype=torch.long),
        prompts=Prompts.none(image),
    )
    names, values = zip(*twin.named_parameters())
    try:
        total = torch.stack([level.sum() for level in twin.encode(batch)]).sum()
        gradients = torch.autograd.grad(total, values, allow_unused=True)
    except (NotImplementedError, RuntimeError):
        return []
    return [name for name, gradient in zip(names, gradients) if gradient is None]
