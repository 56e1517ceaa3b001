"""Clicks: where a person would put them, how a network is shown them, what they are worth.

Points are voxel indices, one an axis; a voxel's centre lies at its index. Regions are boolean (*S).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Protocol

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from oncoseg.case import Array, Batch, Prompts

SLACK, SLACK_VOXELS = 0.1, 5.0  # a drawn box is off by so much of its side, and so much at most


class Clickable(Protocol):
    """Whatever answers clicks with a mask, as a session does."""

    @property
    def mask(self) -> Array:
        """What is segmented now, boolean (*S)."""

    def click(self, *place: float, foreground: bool = True) -> Any:
        """Say that a voxel belongs to the target, or does not."""


def sampled(region: Array, rng: np.random.Generator, count: int = 1) -> Array:
    """Up to `count` points (n, dims) of a region, likelier the deeper inside; none if it is empty.

    The chance is proportional to exp(distance to the nearest voxel outside) - 1 (Sakinis 2019).
    """
    depth, first = _depth(region)
    if not depth.size:
        return np.zeros((0, region.ndim), dtype=int)
    chance = (np.exp(depth - depth.max()) - np.exp(-depth.max())).ravel()
    chosen = rng.choice(chance.size, count, p=chance / chance.sum())
    return np.stack(np.unravel_index(chosen, depth.shape), axis=1) + first


def next_click(truth: Array, mask: Array, clicked: Sequence[Array] = ()) -> tuple[Array, bool]:
    """The point (dims,) deepest in what is missed or wrongly taken, and whether it was missed.

    No point that was `clicked` before is clicked again (Sofiiuk 2021, arXiv 2102.06583). Where
    nothing is wrong, it is the deepest point of the truth.
    """
    missed, taken = (_left(region, clicked) for region in (truth & ~mask, mask & ~truth))
    if not missed[0].any() and not taken[0].any():
        missed = _left(truth, clicked)
    foreground = missed[0].max(initial=0) >= taken[0].max(initial=0)
    depth, first = missed if foreground else taken
    return np.array(np.unravel_index(np.argmax(depth), depth.shape)) + first, bool(foreground)


def corrections(
    truth: Array, mask: Array, chance: float, rng: np.random.Generator
) -> list[tuple[Array, bool]]:
    """A point of what is missed and one of what is wrongly taken, each given with a `chance`."""
    kinds = ((truth & ~mask, True), (mask & ~truth, False))
    wanted = [(region, inside) for region, inside in kinds if rng.random() < chance]
    return [(point, inside) for region, inside in wanted for point in sampled(region, rng)]


def drawn_box(region: Array, rng: np.random.Generator) -> Array:
    """Lower and upper corner (2, dims) as a person draws them round a region that is not empty.

    Each edge is off by up to a tenth of the side, five voxels at most.
    """
    box = ndimage.find_objects(region.astype(np.uint8))[0]
    corners = np.array([[piece.start for piece in box], [piece.stop - 1 for piece in box]], float)
    slack = np.minimum(SLACK * (corners[1] - corners[0] + 1), SLACK_VOXELS)
    corners += rng.uniform(-1, 1, corners.shape) * slack
    return np.clip(np.sort(corners, axis=0), 0, np.array(region.shape) - 1.0)


def dice_curve(session: Clickable, truth: Array, clicks: int = 20) -> list[float]:
    """Dice after each of so many clicks, each where `next_click` finds the deepest error.

    Where nothing is wrong any more, nobody clicks on, and the Dice stays 1.
    """
    curve: list[float] = []
    clicked: list[Array] = []
    mask = session.mask
    for _ in range(clicks):
        if not clicked or (mask != truth).any():
            place, foreground = next_click(truth, mask, clicked)
            clicked.append(place)
            session.click(*place.tolist(), foreground=foreground)
            mask = session.mask
        both = int(mask.sum()) + int(truth.sum())
        curve.append(2 * int((mask & truth).sum()) / both if both else 1.0)
    return curve


def iou_of(dice: float) -> float:
    """Intersection over union of two masks with this Dice."""
    return dice / (2 - dice)


def clicks_needed(curve: Sequence[float], iou: float) -> tuple[int, bool]:
    """NoC: the first number of clicks whose IoU reaches `iou`, and whether any does.

    `curve` holds a Dice a click; where none does, it is all of them, as in Sofiiuk 2021.
    """
    reached = (count for count, dice in enumerate(curve, start=1) if iou_of(dice) >= iou)
    found = next(reached, 0)
    return found or len(curve), bool(found)


def one_piece(region: Array, rng: np.random.Generator) -> Array:
    """One connected piece of a region that is not empty, each as likely."""
    pieces, count = ndimage.label(region, np.ones((3,) * region.ndim))
    return np.asarray(pieces == rng.integers(1, count + 1))


def asked(
    batch: Batch,
    clicks: Sequence[Sequence[tuple[Array, bool]]],
    boxes: Sequence[Sequence[Array]],
    mask: Tensor | None = None,
) -> Batch:
    """The batch with these prompts for each item; `mask` (B, 1, *S) if there is one so far."""
    prompts = Prompts.none(batch.image)
    points, foreground = packed(clicks, batch.image)
    corners = packed_boxes(boxes, batch.image)
    prompts = replace(prompts, points=points, foreground=foreground, boxes=corners)
    return batch.but(prompts=prompts if mask is None else replace(prompts, mask=mask))


def packed(clicks: Sequence[Sequence[tuple[Array, bool]]], like: Tensor) -> tuple[Tensor, Tensor]:
    """Clicks of each item -> points (B, P, dims) and foreground (B, P), -1 where there is none."""
    most = max(map(len, clicks), default=0)
    points = np.zeros((len(clicks), most, like.ndim - 2), dtype=np.float32)
    kinds = np.full((len(clicks), most), -1, dtype=np.float32)
    for row, some in enumerate(clicks):
        for place, (point, foreground) in enumerate(some):
            points[row, place], kinds[row, place] = point, foreground
    device = like.device
    return torch.from_numpy(points).to(device), torch.from_numpy(kinds).to(device)


def packed_boxes(boxes: Sequence[Sequence[Array]], like: Tensor) -> Tensor:
    """Boxes (2, dims) of each item -> (B, Q, 2, dims); one that ends before it starts is none."""
    most = max(map(len, boxes), default=0)
    corners = np.zeros((len(boxes), most, 2, like.ndim - 2), dtype=np.float32)
    corners[:, :, 1] = -1
    for row, some in enumerate(boxes):
        for place, box in enumerate(some):
            corners[row, place] = box
    return torch.from_numpy(corners).to(like.device)


def blobs(points: Tensor, chosen: Tensor, shape: Sequence[int], sigma: float) -> Tensor:
    """The largest of Gaussians of deviation `sigma` voxels at the chosen points, (B, 1, *shape).

    points (B, P, dims), chosen (B, P) boolean; 1 at a point, 0 where none is chosen.
    """
    dims = len(shape)
    total = points.new_zeros(len(points), 1, *shape)
    for place in range(points.shape[1]):
        blob = chosen[:, place].to(points.dtype).view(-1, *(1,) * (dims + 1))
        for axis, size in enumerate(shape):
            away = torch.arange(size, device=points.device) - points[:, place, axis, None]
            side = torch.exp(-0.5 * (away / sigma) ** 2)
            blob = blob * side.view(-1, 1, *(size if axis == each else 1 for each in range(dims)))
        total = torch.maximum(total, blob)
    return total


def _left(region: Array, clicked: Sequence[Array]) -> tuple[Array, Array]:
    """`_depth`, zero at points that were clicked."""
    depth, first = _depth(region)
    for point in clicked:
        place = tuple(point - first)
        if all(0 <= index < size for index, size in zip(place, depth.shape)):
            depth[place] = 0
    return depth, first


def _depth(region: Array) -> tuple[Array, Array]:
    """Distance of a region's voxels to the nearest outside, cut to its box, and the box's start.

    What lies beyond the image is outside. Both are empty if the region is.
    """
    boxes = ndimage.find_objects(region.astype(np.uint8))
    if not boxes:
        return np.zeros((0,) * region.ndim), np.zeros(region.ndim, dtype=int)
    distance = ndimage.distance_transform_edt(np.pad(region[boxes[0]], 1))
    inner = distance[(slice(1, -1),) * region.ndim]
    return inner, np.array([piece.start for piece in boxes[0]])
