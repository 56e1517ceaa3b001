"""Every picture of one prediction: slices with contours, diameters as measured, shaded surfaces.

Slices are cut along the prediction's own grid, turned upright, and shown in the radiological
convention: the patient's right is on the left of the picture.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image
from scipy import ndimage

from oncoseg.blocks.contours import contours, svg_path
from oncoseg.blocks.planes import PLANES, unit, upright
from oncoseg.blocks.render import Surface, render, surface, width_of
from oncoseg.blocks.segments import Segment
from oncoseg.case import Array, Prediction, Volume
from oncoseg.report import slices
from oncoseg.report.canvas import canvas
from oncoseg.report.slices import ACROSS, Frame, Shown

# Okabe and Ito, in an order that stays apart on grey pictures for colour-blind readers.
COLOURS = ("#56B4E9", "#E69F00", "#CC79A7", "#009E73", "#F0E442", "#D55E00", "#0072B2")
RED = (255, 40, 40)  # of doubt: no region has it
LARGE, SMALL = 480, 300
LINE = 1.7
VIEWS = (
    ("front", 0, 0),
    ("left", 90, 0),
    ("below, as in axial slices", 0, -90),
    ("front, left and above", 40, 25),
)


def colours(regions: Iterable[str]) -> dict[str, str]:
    """Region -> its colour everywhere in the report."""
    return {name: COLOURS[place % len(COLOURS)] for place, name in enumerate(regions)}


class Atlas:
    """The pictures of a 3-D prediction, from its masks and whatever images were found."""

    def __init__(self, prediction: Prediction, images: Mapping[str, Volume]) -> None:
        self.grid = upright(prediction.label, prediction.grid)[1]
        self.steps = np.array(self.grid.spacing)
        self.turn = np.linalg.inv(self.grid.affine) @ prediction.grid.affine
        self.masks = {
            name: upright(mask, prediction.grid)[0] for name, mask in prediction.masks.items()
        }
        self.tumour = np.any(list(self.masks.values()), axis=0)
        palette = colours(self.masks)
        largest = sorted(self.masks, key=lambda name: -int(self.masks[name].sum()))
        self.palette = {name: palette[name] for name in largest}  # small ones are drawn last
        self.images = slices.all_shown(images)
        self.thick = self._thickness()
        self.full = self._filled()
        self.strides = np.maximum(1, np.round(3 / self.steps)).astype(int)
        self.body = self._body()
        self.field = self._field()

    def widest(self, plane: str) -> int:
        """The slice with the largest area of tumour, the middle one if there is none."""
        axis = PLANES.index(plane)
        area = self.tumour.sum(axis=tuple({0, 1, 2} - {axis}))
        return int(area.argmax()) if area.any() else self.tumour.shape[axis] // 2

    def telling(self, plane: str) -> str:
        """The image, of those about as fine as the grid, in which the tumour stands out most.

        In its widest slice it is held against a shell of 8 mm. The first image if there is no
        tumour; "" if there is no image.
        """
        fine = [
            name
            for name, image in self.images.items()
            if image.grid.voxel_volume < 8 * self.grid.voxel_volume
        ] or list(self.images)
        if not fine or not self.tumour.any():
            return fine[0] if fine else ""
        at = self.widest(plane)
        inside = slices.picture_of(self.tumour, plane, at)
        reach = max(1, round(8 / min(self.steps[list(ACROSS[plane])])))
        shell = ndimage.binary_dilation(inside, iterations=reach) & ~inside

        def stands_out(name: str) -> float:
            values = slices.slice_of(self.images[name], self.grid, plane, at)
            return slices.contrast(values, inside, shell)

        return max(fine, key=stands_out)

    def panel(self, modality: str, plane: str, index: int, pixels: int = LARGE) -> str:
        """A slice with the whole body (of a long scan: the part around the tumour)."""
        low, high = self.field
        return self._drawn(modality, self._frame(plane, index, low, high), pixels)

    def doubtful(self, modality: str, plane: str, doubt: Array) -> str:
        """The widest slice, the redder the larger a map (upright, uint8) is there."""
        frame = self._frame(plane, self.widest(plane), *self.field)
        return self._drawn(modality, frame, LARGE, doubt=doubt)

    def ruled(self, modality: str, plane: str, row: Mapping[str, Any]) -> tuple[str, str]:
        """The slice in which diameters were measured, close up, with both lines as measured.

        And where it lies.
        """
        points, index = self._ends(plane, row)
        margin = max(8.0, 0.35 * float(np.ptp(points, axis=0).max()))
        centre = (points.min(axis=0) + points.max(axis=0)) / 2
        side = float(np.ptp(points, axis=0).max()) + 2 * margin
        x, y = (float(value) for value in centre - side / 2)
        frame = Frame(plane, index, x, y, side, side)
        return self._drawn(modality, frame, SMALL, _rulers(points)), self.position(
            plane, frame.index
        )

    def captured(
        self,
        modality: str,
        plane: str,
        row: Mapping[str, Any],
        texts: tuple[str, str],
        pixels: int,
    ) -> Array:
        """The same slice whole, in pixels (rows, columns, 3), with texts at its corners."""
        points, index = self._ends(plane, row)
        frame = self._frame(plane, index, *self.field)
        grey, box, part = self._cut(modality, frame)
        wide, high = (float(self.steps[axis]) for axis in ACROSS[plane])
        lines = [
            (np.array(polygon) / 2 * (wide, high) + box[:2], colour)
            for name, colour in self.palette.items()
            for polygon in contours(slices.picture_of(self.masks[name], plane, index)[part])
        ]
        return canvas(frame, grey, box, lines, [points[:2], points[2:]], texts, pixels)

    def _ends(self, plane: str, row: Mapping[str, Any]) -> tuple[Array, int]:
        """The ends of both lines (4, 2) in mm of the picture, and the slice that holds them."""
        ends = np.array([*row["ends"], *row["perpendicular_ends"]])
        stored = np.insert(ends, row["axis"], row["slice"], axis=1)
        index = stored @ self.turn[:3, :3].T + self.turn[:3, 3]
        places = (np.array(self.tumour.shape) - 0.5 - index) * self.steps
        return places[:, list(ACROSS[plane])], round(float(index[0, PLANES.index(plane)]))

    def around(self, modality: str, plane: str, lesion: Segment) -> tuple[str, str]:
        """The slice of a plane in which a lesion is widest, close up, and where it lies."""
        axis = PLANES.index(plane)
        along = int(np.abs(self.turn[axis, :3]).argmax())
        part, box = lesion.part, np.array([(side.start, side.stop) for side in lesion.box])
        area = part.sum(axis=tuple({0, 1, 2} - {along}))
        widest = np.flatnonzero(area == area.max()) + box[along, 0]
        places = np.sort(self.turn[axis, along] * widest + self.turn[axis, 3])
        index = round(float(places[len(places) // 2]))
        sides = np.sort((box.T - 0.5) @ self.turn[:3, :3].T + self.turn[:3, 3], axis=0)
        low, high = (sides + 0.5) * self.steps
        margin = max(8.0, 0.25 * float((high - low).max()))
        frame = self._frame(plane, index, low - margin, high + margin)
        return self._drawn(modality, frame, SMALL), self.position(plane, index)

    def montage(self, plane: str, count: int = 10) -> list[int]:
        """Slices evenly through the tumour, or through the whole image if there is none."""
        axis = PLANES.index(plane)
        there = np.flatnonzero(self.tumour.any(axis=tuple({0, 1, 2} - {axis})))
        if not len(there):
            low, high = (part[axis] / self.steps[axis] for part in self.field)
            size = self.tumour.shape[axis]
            there = np.arange(size)[max(0, round(low) + 1) : max(1, min(size, round(high) - 1))]
        places = np.linspace(len(there) - 1, 0, min(count, len(there)))
        return [int(there[round(place)]) for place in places]

    def position(self, plane: str, index: int) -> str:
        """Where the middle of a slice lies along its patient axis, in mm of the scanner's frame."""
        axis = PLANES.index(plane)
        middle = (np.array(self.tumour.shape) - 1) / 2
        middle[axis] = index
        value = float((self.grid.affine @ [*middle, 1])[axis])
        return f"{'RAH'[axis] if value >= 0 else 'LPF'[axis]} {abs(value):.1f} mm"

    def described(self, modality: str) -> str:
        """An image's name and window in words."""
        if not modality:
            return "no image"
        window = self.images[modality].window
        return f"{modality} ({window})" if window else modality

    def surfaces(self) -> list[tuple[str, str]]:
        """(name of the view, PNG as a data URI), none if nothing was found."""
        items = self._surfaces()
        if not self.tumour.any():
            return []
        width = width_of(items, [(turn, lift) for _, turn, lift in VIEWS])
        return [
            (name, slices.data_uri(Image.fromarray(render(items, turn, lift, width / 340, width))))
            for name, turn, lift in VIEWS
        ]

    def _surfaces(self) -> list[Surface]:
        items = []
        named = [name for name in self.palette if self.masks[name].any() and name not in self.full]
        for place, name in enumerate(named, start=1):
            solid = 1.0 if place == len(named) else 0.2 + 0.25 * place / len(named)
            red, green, blue = (int(self.palette[name][at : at + 2], 16) / 255 for at in (1, 3, 5))
            opacity = (solid, max(solid, 0.85))
            items.append(surface(self.masks[name], self.steps, 1.5, (red, green, blue), opacity))
        if self.body.any():
            steps = self.steps * self.strides
            items.append(surface(self.body, steps, 3.0, (0.52, 0.58, 0.66), (0.06, 0.6)))
        return items

    def _thickness(self) -> dict[str, float]:
        """Line widths: wider for a region whose outline a smaller one follows, to show both."""
        at, names = self.widest("axial"), list(self.palette)
        cuts = {name: slices.picture_of(self.masks[name], "axial", at) for name in names}
        rims = {name: cut & ~ndimage.binary_erosion(cut) for name, cut in cuts.items()}
        return {
            name: LINE
            + 1.6
            * sum(
                (rims[name] & rims[small]).sum() > rims[name].sum() / 4
                for small in names[place + 1 :]
            )
            for place, name in enumerate(names)
        }

    def _filled(self) -> dict[str, str]:
        """Regions that a smaller one fills by four fifths: in 3-D they would hide each other."""
        names = list(self.palette)
        sizes = {name: int(self.masks[name].sum()) for name in names}
        return {
            name: small
            for place, name in enumerate(names)
            for small in names[place + 1 :]
            if int((self.masks[name] & self.masks[small]).sum()) > 0.8 * sizes[name]
        }

    def _body(self) -> Array:
        """Coarse mask of what is not air, from the finest image; empty without images."""
        shape = tuple(int(size) for size in -(-np.array(self.tumour.shape) // self.strides))
        if not self.images:
            return np.zeros(shape, dtype=bool)
        image = min(self.images.values(), key=lambda item: item.grid.voxel_volume)
        values = slices.sample(image, self.grid, (self.strides - 1) / 2, self.strides, shape)
        body = ndimage.binary_opening(np.nan_to_num(values, nan=-np.inf) > image.edge)
        pieces, count = ndimage.label(body)
        if count > 1:
            body = pieces == 1 + np.bincount(pieces.ravel())[1:].argmax()
        return ndimage.binary_fill_holes(body)

    def _field(self) -> tuple[Array, Array]:
        """Lower and upper corner in mm of the box that is shown."""
        shape = np.array(self.tumour.shape) * self.steps
        low, high = np.zeros(3), shape
        tumour = _box(self.tumour, self.steps)
        if self.body.any():
            low, high = _box(self.body, self.steps * self.strides)
        if self.tumour.any():
            low, high = np.minimum(low, tumour[0]), np.maximum(high, tumour[1])
        side = float((high - low)[:2].max())
        if high[2] - low[2] > side:  # a long scan: stay with the tumour
            middle = (tumour[0] + tumour[1])[2] / 2 if self.tumour.any() else (low + high)[2] / 2
            low[2], high[2] = middle - side / 2, middle + side / 2
        return low, high

    def _frame(self, plane: str, index: int, low: Array, high: Array) -> Frame:
        """A square around a box, of one size in all planes, so that they share one scale."""
        side = float((high - low).max()) * 1.05
        across = list(ACROSS[plane])
        centre = (np.array(self.tumour.shape) * self.steps - (low + high) / 2)[across]
        x, y = (float(value) for value in centre - side / 2)
        return Frame(plane, index, x, y, side, side)

    def _drawn(
        self,
        modality: str,
        frame: Frame,
        pixels: int,
        lines: str = "",
        doubt: Array | None = None,
    ) -> str:
        grey, box, part = self._cut(modality, frame)
        if doubt is not None:
            doubted = slices.picture_of(doubt, frame.plane, frame.index)[part]
            grey = slices.tinted(grey, doubted, RED)
        wide, high = (float(self.steps[axis]) for axis in ACROSS[frame.plane])
        place = f"translate({box[0]:.3f} {box[1]:.3f}) scale({wide / 2:.5f} {high / 2:.5f})"
        inside = slices.image_tag(grey, box, pixels)
        share = 1 if pixels == LARGE else 0.75
        paths = [
            (svg_path(slices.picture_of(self.masks[name], frame.plane, frame.index)[part]), colour)
            for name, colour in self.palette.items()
        ]
        widths = [share * self.thick[name] for name in self.palette]
        inside += slices.outlines([(*path, width) for path, width in zip(paths, widths)], place)
        title = f"{frame.plane} slice at {self.position(frame.plane, frame.index)}, {modality}"
        return slices.svg(frame, inside + lines + slices.furniture(frame, "mm"), title)

    def _cut(
        self, modality: str, frame: Frame
    ) -> tuple[Array, tuple[float, float, float, float], tuple[slice, slice]]:
        """Grey values within a frame, the box in mm that they fill, and which part of the slice."""
        wide, high = (float(self.steps[axis]) for axis in ACROSS[frame.plane])
        shape = slices.picture_of(self.tumour, frame.plane, frame.index).shape
        rows = _span(frame.y, frame.height, high, shape[0])
        columns = _span(frame.x, frame.width, wide, shape[1])
        part = (slice(*rows), slice(*columns))
        size = rows[1] - rows[0], columns[1] - columns[0]
        grey: Array = np.full(size, 40, dtype=np.uint8)
        if modality:
            image = self.images[modality]
            grey = image.greys(slices.slice_of(image, self.grid, frame.plane, frame.index)[part])
        return grey, (columns[0] * wide, rows[0] * high, size[1] * wide, size[0] * high), part


def flat(
    prediction: Prediction,
    name: str,
    image: Shown,
    measured: Sequence[Mapping[str, Any]] = (),
) -> str:
    """A 2-D prediction in the image of a name; rows run down and columns to the right, as stored.

    With the diameters of lesions that were `measured`.
    """
    (rows, columns), (high, wide) = prediction.grid.shape[:2], prediction.grid.spacing[:2]
    frame = Frame("image", 0, 0.0, 0.0, columns * wide, rows * high)
    values = image.greys(image.array.astype(np.float32))
    inside = slices.image_tag(values, (0, 0, frame.width, frame.height), 900)
    masks, palette = prediction.masks, colours(prediction.masks)
    largest = sorted(masks, key=lambda name: -int(masks[name].sum()))
    place = f"scale({wide / 2:.5f} {high / 2:.5f})"
    paths = [(svg_path(masks[name]), palette[name], LINE) for name in largest]
    inside += slices.outlines(paths, place)
    for row in measured:
        ends = np.array([*row["ends"], *row["perpendicular_ends"]])
        inside += _rulers((ends[:, ::-1] + 0.5) * (wide, high))
    inside += slices.furniture(frame, unit(prediction.grid))
    return slices.svg(frame, inside, f"{prediction.case}, {name}")


def _rulers(points: Array) -> str:
    """Two lines between points (4, 2) in mm of the picture."""
    return "".join(
        f'<path class="{kind}" d="M{a[0]:.2f} {a[1]:.2f}L{b[0]:.2f} {b[1]:.2f}"/>'
        for kind in ("under ruler", "rule")
        for a, b in (points[:2], points[2:])
    )


def _span(start: float, length: float, step: float, size: int) -> tuple[int, int]:
    """The pixels that a stretch of mm touches, at least one."""
    first = int(np.clip(np.floor(start / step), 0, size - 1))
    return first, int(np.clip(np.ceil((start + length) / step), first + 1, size))


def _box(mask: Array, steps: Array) -> tuple[Array, Array]:
    """Lower and upper corner of a mask's box in mm, from the outer corner of the first voxel."""
    if not mask.any():
        return np.zeros(3), np.zeros(3)
    (box,) = ndimage.find_objects(mask.astype(np.uint8))
    ends = np.array([(side.start, side.stop) for side in box], dtype=float)
    return ends[:, 0] * steps, ends[:, 1] * steps
