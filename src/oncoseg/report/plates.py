"""Which pictures stand in a report, in which order, and what is said under them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

from oncoseg.blocks.planes import slice_axis, unit, upright
from oncoseg.blocks.segments import Segment, lesions
from oncoseg.blocks.target_lesions import measure
from oncoseg.case import Array, Prediction, Volume
from oncoseg.report.pictures import SMALL, Atlas, flat
from oncoseg.report.records import Figure, Plate
from oncoseg.report.sentences import TIMES
from oncoseg.report.slices import all_shown

SURFACES = "In three dimensions"
LETTERS = "R, L, A, P, H, F: the patient's right, left, front (anterior), back, head, foot."
SIDES = "Radiological convention: the patient's right is on the left of axial and coronal pictures."
LESIONS = 6  # that are pictured


def plates(
    prediction: Prediction,
    images: Mapping[str, Volume],
    doubt: Array | None = None,
) -> Sequence[Plate]:
    """Overview, every modality, doubt, slice by slice, surfaces, and each lesion as measured.

    `doubt` (*S) uint8 is the map of entropy, if there is one.
    """
    if not images and prediction.images:
        return []
    if prediction.grid.dims == 2:
        return [_flat(prediction, images)]
    atlas = Atlas(prediction, images)
    best, plane = atlas.telling("axial"), slice_axis(prediction.grid)[1]
    seen = atlas.described(best)
    drawn = [_overview(atlas, best, seen)]
    if len(images) > 1:
        drawn.append(_modalities(atlas, plane))
    if doubt is not None:
        drawn.append(_doubt(atlas, best, upright(doubt, prediction.grid)[0]))
    return [
        *drawn,
        _montage(atlas, best, plane, seen),
        *_surfaces(atlas),
        *_lesions(atlas, best, prediction),
    ]


def pictured(prediction: Prediction) -> tuple[list[Segment], int]:
    """The lesions that have a picture, the largest of each region first, and how many there are."""
    found = lesions(prediction)
    return sorted(sorted(found, key=_place)[:LESIONS], key=lambda one: one.number), len(found)


def _flat(prediction: Prediction, images: Mapping[str, Volume]) -> Plate:
    """The one picture in every image, and the lesions that are measured in it."""
    shown, count = pictured(prediction)
    sizes = {one.name: measure(one, prediction.grid) for one in shown}
    drawn = [size.drawn for size in sizes.values()]
    figures = [
        Figure(flat(prediction, name, image, drawn), name, kind="single")
        for name, image in all_shown(images).items()
    ]
    told = [
        f"{name} {size.long:.1f}{TIMES}{size.short:.1f} {unit(prediction.grid)}"
        for name, size in sizes.items()
    ]
    text = "Contours over the image."
    if told:
        text += f" Longest diameters and their perpendiculars: {'; '.join(told)}."
    if len(shown) < count:
        text += f" {len(shown)} of {count} pieces are measured, the largest of each region first."
    return Plate("Picture", text, figures, max(1, min(2, len(figures))))


def _overview(atlas: Atlas, best: str, seen: str) -> Plate:
    there = atlas.tumour.any()
    where = "Where the tumour is largest in each plane" if there else "The middle of the image"
    figures = [
        Figure(
            atlas.panel(best, plane, atlas.widest(plane)),
            plane.capitalize(),
            atlas.position(plane, atlas.widest(plane)),
        )
        for plane in ("axial", "coronal", "sagittal")
    ]
    return Plate("Overview", f"{where}, in {seen}. {SIDES} {LETTERS}", figures, 3)


def _modalities(atlas: Atlas, plane: str) -> Plate:
    at = atlas.widest(plane)
    figures = [
        Figure(atlas.panel(name, plane, at, SMALL), name, image.window)
        for name, image in atlas.images.items()
    ]
    text = f"The same {plane} slice, {atlas.position(plane, at)}, in every image used."
    return Plate("In every modality", text, figures, max(3, min(4, len(figures))), "small")


def _doubt(atlas: Atlas, best: str, doubt: Array) -> Plate:
    planes = ("axial", "coronal", "sagittal")
    figures = [
        Figure(
            atlas.doubtful(best, plane, doubt),
            plane.capitalize(),
            atlas.position(plane, atlas.widest(plane)),
        )
        for plane in planes
    ]
    text = (
        "The redder a voxel, the less sure the model is of its label (entropy, from none to the "
        "largest there is). What is not red can be wrong too."
    )
    return Plate("Where the model is unsure", text, figures, 3)


def _montage(atlas: Atlas, best: str, plane: str, seen: str) -> Plate:
    figures = [
        Figure(atlas.panel(best, plane, at, SMALL), atlas.position(plane, at))
        for at in atlas.montage(plane)
    ]
    through = "tumour" if atlas.tumour.any() else "image"
    text = f"{plane.capitalize()} slices evenly through the {through}, in {seen}."
    return Plate("Slice by slice", text, figures, 5, "small")


def _surfaces(atlas: Atlas) -> list[Plate]:
    figures = [
        Figure(
            f'<img alt="{escape(f"Surfaces seen from {name}")}" src="{uri}">',
            f"From {name}",
            kind="surface",
        )
        for name, uri in atlas.surfaces()
    ]
    text = "Surfaces of the regions, smoothed for display only, within the outline of the image."
    text += "".join(
        f" {name} is left out: {small} fills most of it." for name, small in atlas.full.items()
    )
    return [Plate(SURFACES, text, figures, 4)] if figures else []


def _lesions(atlas: Atlas, best: str, prediction: Prediction) -> list[Plate]:
    """Each lesion as it was measured, and in three planes: the largest of each region first."""
    shown, count = pictured(prediction)
    if not shown:
        return []
    plane = slice_axis(prediction.grid)[1]
    figures = []
    for one in shown:
        size = measure(one, prediction.grid)
        least = "at least " if size.cut else ""
        picture, place = atlas.ruled(best, plane, size.drawn)
        told = f"{least}{size.volume:.3g} ml, {size.long:.1f}{TIMES}{size.short:.1f} mm"
        figures.append(Figure(picture, one.name, f"{told}; {plane}, {place}"))
        for other in ("axial", "coronal", "sagittal"):
            picture, place = atlas.around(best, other, one)
            figures.append(Figure(picture, "", f"{one.name}, {other}, {place}"))
    text = (
        f"Each piece from 50 mm³: the {plane} slice that holds its longest diameter, with its "
        "perpendicular, then the slice of each plane in which it is widest."
    )
    if len(shown) < count:
        text += f" {len(shown)} of {count} are shown, the largest of each region first."
    return [Plate("Lesion by lesion", text, figures, 4, "small")]


def _place(lesion: Segment) -> tuple[int, int]:
    """Its place by size within its region, from which it has its name."""
    return int(lesion.name.rpartition(" ")[2]), lesion.number
