"""Implants: random tumours that a difference map makes visible, and who recognises them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from oncoseg.blocks.log_sigmoid import log_sigmoid
from oncoseg.blocks.noise import blur, smooth_field
from oncoseg.blocks.tumour import deformed_ellipsoid
from oncoseg.case import Batch, Task
from oncoseg.errors import BadOption

CHANGED = "changed"


def painted(task: Task, names: Sequence[str]) -> Task:
    """A task whose outputs are images: channel `place * M + modality` for each of `names`.

    A label that all its regions share keeps them from being taken for exclusive classes.
    """
    several = task.inputs > 1
    channels = [
        f"{name} in {modality}" if several else name
        for name in names
        for modality in task.modalities
    ]
    labels = {name: place for place, name in enumerate([*channels, CHANGED], start=1)}
    return replace(task, labels=labels, regions={name: (name, CHANGED) for name in channels})


def is_painted(task: Task) -> bool:
    """Whether a task was made by `painted`."""
    return all(CHANGED in members for members in task.regions.values())


@dataclass(frozen=True)
class Lesions:
    """Labels that are implanted, and the label of the organ that each grows in, "" for the body."""

    task: Task
    names: tuple[str, ...]
    organs: tuple[str, ...]

    @classmethod
    def of(cls, task: Task, names: str, organs: str) -> Lesions:
        """From `tumour+cyst` and `liver+kidney`, or one organ for all, or none.

        Without names, every label that is no organ.
        """
        hosts = tuple(filter(None, organs.split("+")))
        lesions = tuple(filter(None, names.split("+")))
        lesions = lesions or tuple(name for name in task.labels if name not in hosts)
        has = ", ".join(task.labels)
        for name in (*hosts, *lesions):
            if name not in task.labels:
                raise BadOption(f"there is no label '{name}' to implant or to implant into: {has}")
        rows = {name: tuple(task.membership[:, task.labels[name]]) for name in (*hosts, *lesions)}
        if {tuple(task.membership[:, 0]), *(rows[name] for name in hosts)} & {
            rows[name] for name in lesions
        }:
            raise BadOption("the regions of the task do not tell lesions from what they grow in")
        if not lesions or len(hosts) not in {0, 1, len(lesions)}:
            raise BadOption(
                f"name one organ, or one for each of {', '.join(lesions) or 'no lesion'}, "
                f"not '{organs}'"
            )
        return cls(task, lesions, hosts * len(lesions) if len(hosts) == 1 else hosts)

    def membership(self, name: str, like: Tensor) -> Tensor:
        """(outputs, 1, ...): what a voxel (outputs, *S) of this label belongs to."""
        row = torch.from_numpy(self.task.membership[:, self.task.labels[name]])
        return row.to(like).view(-1, *(1,) * (like.ndim - 1))

    def at(self, name: str, label: Tensor) -> Tensor:
        """Mask (*S), bool, of the voxels of (outputs, *S) that belong to what this label does."""
        return (label - self.membership(name, label)).abs().amax(0) < 0.5

    def real(self, label: Tensor) -> Tensor:
        """Mask (*S), bool, of every lesion in (outputs, *S)."""
        return torch.stack([self.at(name, label) for name in self.names]).any(0)

    def host(self, batch: Batch, item: int, place: int) -> Tensor:
        """Mask (*S), bool, of where a lesion may grow: its organ, else the body, free of lesions.

        Empty where no label is known.
        """
        body = (batch.present[item] & (batch.image[item] != 0)).any(0) & (batch.weight[item, 0] > 0)
        body = body & batch.labeled[item] & ~self.real(batch.label[item])
        return body & self.at(self.organs[place], batch.label[item]) if self.organs else body


@dataclass(frozen=True)
class Implants:
    """One lesion an item: `region` (B, 1, *S) bool, `amount` (B, 1, *S) of change, its `kind` (B,).

    The amount is soft edge times texture, from 0 to 1, and 0 outside the host.
    """

    lesions: Lesions
    region: Tensor
    amount: Tensor
    kind: Tensor

    def painted(self, batch: Batch, maps: Tensor, contrast: float) -> Batch:
        """The batch with its lesions: image - `contrast` * amount * difference, and their labels.

        `maps` (B, lesions * M, *S), or broadcast to it, holds the differences from -1 to 1.
        """
        size, inputs = batch.image.shape[:2]
        shape = (size, len(self.lesions.names), inputs, *batch.image.shape[2:])
        chosen = maps.expand(size, -1, *shape[3:]).reshape(shape)
        chosen = chosen[torch.arange(size, device=maps.device), self.kind]
        image = batch.image - contrast * self.amount * chosen * batch.present
        rows = self.rows(batch.label).view(size, -1, *(1,) * len(shape[3:]))
        return batch.but(image=image, label=torch.where(self.region, rows, batch.label))

    def rows(self, label: Tensor) -> Tensor:
        """(B, outputs): what the lesion of each item belongs to."""
        names = [self.lesions.names[kind] for kind in self.kind.tolist()]
        return torch.stack([self.lesions.membership(name, label[0]).flatten() for name in names])


def draw(batch: Batch, lesions: Lesions, radii: Sequence[float], chance: float = 1.0) -> Implants:
    """One implant in each item with probability `chance`, if it has a host there.

    The lesion and the size class, one of `radii` mm, are drawn evenly; a radius is at most a
    quarter of the shortest side of the patch. Edges are blurred by 1 to 2 voxels.
    """
    size, *shape = len(batch), *batch.image.shape[2:]
    region = torch.zeros(size, 1, *shape, dtype=torch.bool, device=batch.image.device)
    amount = torch.zeros(size, 1, *shape, device=batch.image.device)
    kind = torch.randint(len(lesions.names), (size,))
    largest = min(n * mm for n, mm in zip(shape, lesions.task.spacing)) / 4
    for item in torch.nonzero(torch.rand(size) < chance).flatten().tolist():
        host = lesions.host(batch, item, int(kind[item]))
        radius = min(radii[int(torch.randint(len(radii), ()))], largest)
        region[item, 0] = deformed_ellipsoid(host, lesions.task.spacing, radius)
        soft = blur(region[item].float()[None], [1 + float(torch.rand(()))] * len(shape))[0, 0]
        noise = smooth_field(shape, [length // 4 for length in shape], 1, amount)[0, 0]
        amount[item, 0] = soft * (0.525 + 0.2 * noise).clamp(0, 1) * host
    return Implants(lesions, region, amount, kind.to(region.device))


def differences(logits: Tensor) -> Tensor:
    """Outputs of a generator (B, C, *S) -> difference maps: tanh, blurred by a voxel."""
    maps = torch.tanh(logits.float())
    return blur(maps.flatten(0, 1)[:, None], [1.0] * (maps.ndim - 2)).reshape(maps.shape)


def recognised(logits: Tensor, rows: Tensor, *, exclusive: bool) -> Tensor:
    """Logits (B, outputs, *S) -> probability (B, 1, *S) of the label that belongs to `rows`."""
    member = rows.view(*rows.shape, *(1,) * (logits.ndim - 2))
    if exclusive:
        return (logits.float().softmax(1) * member).sum(1, keepdim=True)
    return log_sigmoid(logits.float() * (2 * member - 1)).sum(1, keepdim=True).exp()


def detected(logits: Tensor, rows: Tensor, region: Tensor, *, exclusive: bool) -> Tensor:
    """Share (B,) of the voxels of `region` that are segmented as what belongs to `rows`.

    0 where the region is empty.
    """
    member = rows.view(*rows.shape, *(1,) * (logits.ndim - 2)) > 0.5
    top = logits.argmax(1, keepdim=True)
    said = torch.zeros_like(logits).scatter_(1, top, 1) > 0.5 if exclusive else logits > 0
    right = (said == member).all(1, keepdim=True) & region
    return right.flatten(1).sum(1) / region.flatten(1).sum(1).clamp_min(1)


def missed(probability: Tensor, region: Tensor) -> Tensor:
    """1 - the mean probability over a region, of (B, 1, *S); 0, with a gradient, if it is empty."""
    return ((1 - probability) * region).sum() / region.sum().clamp_min(1)


def telling(logits: Tensor, real: Tensor, fake: Tensor) -> Tensor:
    """L_D of logits (B, 3, *S) over the masks (B, 1, *S) of real and of fake lesions."""
    chance = logits.float().softmax(1)
    return (missed(chance[:, 1:2], real) + missed(chance[:, 2:], fake)) / 2
