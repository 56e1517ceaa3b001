"""Registration: where the points of one scan lie in another, moved rigidly or affinely.

Mutual information (Mattes) from coarse to fine; the same input gives the same matrix. Each result
says how far it can be trusted, measured and not assumed: see `Registration`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import ndimage

from oncoseg.blocks.extents import extents
from oncoseg.case import Array, Grid, Volume
from oncoseg.errors import BadData, BadOption
from oncoseg.extras import require

KINDS = ("rigid", "affine")
FINEST = 2.0  # mm, to which scans are averaged first: subvoxel places do not need more
LEVELS = (4, 2, 1)
SAMPLES = 30_000  # voxels that are compared at a time, of the finest level
STEPS = 80
SEED = 20
BINS = 32
MARGIN = 10.0  # mm around the body that are compared too, so that its outline counts
WINDOW = 4  # half of the neighbourhood, in steps of `FINEST`, in which structure is compared
THREADS = 2
SMALLEST = 8  # voxels an axis that a scan must have
LEAST_OVERLAP, MOST_RESIDUAL = 0.7, 5.0


@dataclass(frozen=True)
class Registration:
    """`matrix` (4, 4) takes a point of `fixed` to the same point in `moving`, both in RAS mm.

    overlap: Dice of both bodies (brighter than Otsu's threshold) within the common field of view;
    1 if outlines agree. covered: share of the fixed body that `moving` shows at all. information:
    normalised mutual information as the entropy correlation coefficient, 2 - 2 H(a, b) / (H(a) +
    H(b)), from 0 (independent) to 1. likeness: the median correlation |r| of neighbourhoods 18 mm
    wide within the body, so whether fine structure agrees, whatever the brightness; high for one
    person, low for two. residual_mm: the inverse consistency, how far a corner of the body's box at
    most ends from where it began when taken there and back by the registration computed the other
    way round.
    """

    matrix: Array
    kind: str
    overlap: float
    covered: float
    information: float
    likeness: float
    residual_mm: float

    @property
    def poor(self) -> str:
        """Why it is not to be trusted, as the end of a sentence; empty if it is."""
        if self.overlap < LEAST_OVERLAP:
            return f"outlines agree too little (Dice {self.overlap:.2f}, below {LEAST_OVERLAP})"
        if self.residual_mm > MOST_RESIDUAL:
            there = f"there and back differ by {self.residual_mm:.1f} mm"
            return f"{there}, above {MOST_RESIDUAL:g} mm"
        return ""

    @property
    def said(self) -> str:
        """Its quality in one sentence."""
        return (
            f"{self.kind.capitalize()} registration: outlines agree with Dice {self.overlap:.2f}, "
            f"fine structure with a median local correlation of {self.likeness:.2f}, and there and "
            f"back differ by at most {self.residual_mm:.1f} mm."
        )


def register(fixed: Volume, moving: Volume, *, kind: str = "rigid") -> Registration:
    """Find where the points of `fixed` (X, Y, Z) lie in `moving` (X, Y, Z).

    Raises `BadData` if a scan cannot be registered (flat, empty, too few slices), `BadOption` for
    another `kind`; whether the result is any good is in it, see `Registration.poor`.
    """
    if kind not in KINDS:
        raise BadOption(f"no registration '{kind}'; there are {', '.join(KINDS)}")
    one, other = _coarse(fixed), _coarse(moving)
    there, back = _search(one, other, kind), _search(other, one, kind)
    inside = _body(one)
    return assess(one, other, there, kind=kind, residual_mm=_residual(one, inside, there, back))


def assess(
    fixed: Volume,
    moving: Volume,
    matrix: Array,
    *,
    kind: str = "rigid",
    residual_mm: float = 0.0,
) -> Registration:
    """The quality of a matrix that is given, such as the identity; `register` uses it too."""
    fixed, moving = _coarse(fixed), _coarse(moving)
    values, covered = moved(moving, fixed.grid, matrix)
    inside = _body(fixed)
    there = covered & (values > _threshold(moving))
    common = inside & covered
    sum_ = int(common.sum() + there.sum())
    return Registration(
        matrix=matrix,
        kind=kind,
        overlap=2 * int((common & there).sum()) / sum_ if sum_ else 0.0,
        covered=float(common.sum() / max(1, inside.sum())),
        information=_information(fixed.array[covered], values[covered]),
        likeness=_likeness(fixed.array, values, common),
        residual_mm=residual_mm,
    )


def moved(moving: Volume, grid: Grid, matrix: Array, order: int = 1) -> tuple[Array, Array]:
    """`moving` at the voxels of the fixed `grid`, and which of them it covers (bool).

    Float32 for order 1; of its own kind for order 0, as for label maps. 0 where not covered.
    """
    index = np.linalg.inv(moving.grid.affine) @ matrix @ grid.affine
    whole = np.round(index)
    size = max(grid.shape)
    if np.abs(index - whole)[:, :-1].max() * size + np.abs(index - whole)[:, -1].max() < 1e-2:
        index = whole  # voxels fall on voxels: nothing at an edge is lost by rounding
    kind = moving.array.dtype if order == 0 else np.float32
    linear, shift = index[:-1, :-1], index[:-1, -1]
    found = np.zeros(grid.shape, dtype=kind)
    box = _reached(moving.array, grid.shape, linear, shift)
    ndimage.affine_transform(
        moving.array.astype(kind, copy=False),
        linear,
        shift + linear @ [side.start for side in box],
        output=found[box],
        output_shape=tuple(side.stop - side.start for side in box),
        order=order,
        mode="nearest",
    )
    covered = np.ones(grid.shape, dtype=bool)
    axes = np.ogrid[tuple(slice(0, size) for size in grid.shape)]
    for row, offset, size in zip(linear, shift, moving.grid.shape):
        place = sum((axis * step for axis, step in zip(axes, row)), np.float64(offset))
        covered &= (place >= -0.501) & (place <= size - 0.499)
    found[~covered] = 0
    return found, covered


def _reached(
    array: Array, shape: tuple[int, ...], linear: Array, shift: Array
) -> tuple[slice, ...]:
    """The box of the result in which anything but 0 can lie, where index there = linear @ index."""
    box = extents(array != 0).get(1, (slice(0, 1),) * 3)
    ends = [
        (side.start - 2 if side.start else -size, side.stop + 1 if side.stop < size else 2 * size)
        for side, size in zip(box, array.shape)
    ]
    corners = np.stack(np.meshgrid(*ends)).reshape(3, -1)
    places = np.linalg.inv(linear) @ (corners - shift[:, None])
    low, high = np.floor(places.min(axis=1)), np.ceil(places.max(axis=1)) + 1
    return tuple(
        slice(int(np.clip(a, 0, size - 1)), int(np.clip(b, 1, size)))
        for a, b, size in zip(low, high, shape)
    )


def _coarse(volume: Volume) -> Volume:
    """Means of whole blocks of voxels, of about `FINEST` mm a side, as float32."""
    array, grid = volume.array, volume.grid
    if grid.dims != 3 or array.ndim != 3 or min(grid.shape) < SMALLEST:
        shape = " x ".join(map(str, array.shape))
        raise BadData(
            f"{volume.path}: an image of {shape} voxels cannot be registered; give a scan of at "
            f"least {SMALLEST} slices and voxels an axis"
        )
    sides = [
        min(max(1, round(FINEST / step)), size // SMALLEST)
        for step, size in zip(grid.spacing, grid.shape)
    ]
    kept = array[tuple(slice(0, size // side * side) for size, side in zip(grid.shape, sides))]
    kept = np.nan_to_num(kept.astype(np.float32))
    for axis, side in enumerate(sides):
        parts = (*kept.shape[:axis], -1, side, *kept.shape[axis + 1 :])
        kept = kept.reshape(parts).mean(axis=axis + 1) if side > 1 else kept
    if kept.min() == kept.max():
        raise BadData(f"{volume.path}: every voxel has one value, so there is nothing to register")
    affine = grid.affine @ np.diag([*map(float, sides), 1.0])
    affine[:3, 3] += grid.affine[:3, :3] @ ((np.array(sides) - 1) / 2)
    return Volume(kept, Grid(kept.shape, affine), volume.path)


def _threshold(volume: Volume) -> float:
    """Otsu's: between air and body, by the largest variance between both."""
    top = np.percentile(volume.array, 99.5)
    counts, edges = np.histogram(np.minimum(volume.array, top), bins=128)
    middles = (edges[1:] + edges[:-1]) / 2
    below = np.cumsum(counts).astype(np.float64)
    above = below[-1] - below
    total = np.cumsum(counts * middles)
    with np.errstate(divide="ignore", invalid="ignore"):
        apart = below * above * (total / below - (total[-1] - total) / above) ** 2
    return float(edges[1 + int(np.nanargmax(apart))])


def _body(volume: Volume) -> Array:
    return np.asarray(volume.array > _threshold(volume))


def _framed(volume: Volume) -> Volume:
    """Cut to the box of its body and a margin."""
    box = extents(_body(volume)).get(1, (slice(0, 1),) * 3)
    wide = [int(np.ceil(MARGIN / step)) for step in volume.grid.spacing]
    cut = tuple(
        slice(max(0, side.start - more), min(size, side.stop + more))
        for side, more, size in zip(box, wide, volume.grid.shape)
    )
    affine = volume.grid.affine.copy()
    affine[:3, 3] += affine[:3, :3] @ [side.start for side in cut]
    array = volume.array[cut]
    return Volume(array, Grid(array.shape, affine), volume.path)


def _search(fixed: Volume, moving: Volume, kind: str) -> Array:
    """The matrix that makes both share most information."""
    sitk = require("SimpleITK", "report")
    first, second = _framed(fixed), _framed(moving)
    images = [_image(sitk, one) for one in (first, second)]
    middle = _middle(first)
    rigid = sitk.Euler3DTransform()
    rigid.SetCenter(middle.tolist())
    rigid.SetTranslation(_start(first, second).tolist())
    _optimise(sitk, images, rigid, LEVELS)
    if kind == "rigid":
        return _matrix(rigid)
    affine = sitk.AffineTransform(3)
    affine.SetCenter(middle.tolist())
    affine.SetMatrix(rigid.GetMatrix())
    affine.SetTranslation(rigid.GetTranslation())
    _optimise(sitk, images, affine, LEVELS[1:])
    return _matrix(affine)


def _image(sitk: Any, volume: Volume) -> Any:
    """With coordinates in RAS: to the search one frame is as good as another."""
    image = sitk.GetImageFromArray(np.ascontiguousarray(volume.array.transpose(2, 1, 0)))
    spacing = volume.grid.spacing
    image.SetSpacing(spacing)
    image.SetOrigin(volume.grid.affine[:3, 3].tolist())
    image.SetDirection((volume.grid.affine[:3, :3] / spacing).ravel().tolist())
    return image


def _middle(volume: Volume) -> Array:
    """The centre of the body in RAS mm."""
    index = np.array([where.mean() for where in np.nonzero(_body(volume))])
    return np.asarray(volume.grid.affine[:3, :3] @ index + volume.grid.affine[:3, 3])


def _start(fixed: Volume, moving: Volume) -> Array:
    """The shift to begin with: none, or from one body's centre to the other's."""
    shifts = [np.zeros(3), _middle(moving) - _middle(fixed)]
    scores = []
    for shift in shifts:
        matrix = np.eye(4)
        matrix[:3, 3] = shift
        values, covered = moved(moving, fixed.grid, matrix)
        enough = covered.mean() > 0.25
        scores.append(_information(fixed.array[covered], values[covered]) if enough else 0.0)
    return shifts[int(np.argmax(scores))]


def _optimise(sitk: Any, images: list[Any], transform: Any, levels: tuple[int, ...]) -> None:
    """Change `transform` so that mutual information is largest."""
    search = sitk.ImageRegistrationMethod()
    search.SetNumberOfThreads(THREADS)  # they add up in either order: the same to 1e-6
    search.SetMetricAsMattesMutualInformation(BINS)
    search.SetMetricSamplingStrategy(search.RANDOM)
    voxels = int(np.prod(images[0].GetSize()))
    shares = [min(1.0, SAMPLES * level**2 / voxels) for level in levels]
    search.SetMetricSamplingPercentagePerLevel(shares, SEED)
    search.SetInterpolator(sitk.sitkLinear)
    search.SetOptimizerAsRegularStepGradientDescent(1.0, 1e-3, STEPS, relaxationFactor=0.6)
    search.SetOptimizerScalesFromPhysicalShift()
    search.SetShrinkFactorsPerLevel(list(levels))
    search.SetSmoothingSigmasPerLevel([level - 1.0 for level in levels])
    search.SetInitialTransform(transform, inPlace=True)
    try:
        search.Execute(*images)
    except RuntimeError as error:
        raise BadData("two scans share no part that could be registered") from error


def _matrix(transform: Any) -> Array:
    linear = np.array(transform.GetMatrix()).reshape(3, 3)
    centre, shift = np.array(transform.GetCenter()), np.array(transform.GetTranslation())
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = linear, centre + shift - linear @ centre
    return matrix


def _residual(fixed: Volume, inside: Array, there: Array, back: Array) -> float:
    """How far the corners of the body's box end from where they began."""
    box = extents(inside).get(1, (slice(0, 1),) * 3)
    corners = np.stack(np.meshgrid(*[(side.start, side.stop - 1) for side in box])).reshape(3, -1)
    points = fixed.grid.affine @ np.vstack([corners, np.ones(corners.shape[1])])
    apart = (back @ there @ points - points)[:3]
    return float(np.linalg.norm(apart, axis=0).max())


def _information(first: Array, second: Array) -> float:
    """2 - 2 H(a, b) / (H(a) + H(b)) of paired values (n,); 0 if there are none."""
    if not first.size:
        return 0.0
    tops = [np.percentile(one, [0.5, 99.5]) for one in (first, second)]
    a, b = (np.clip(one, *top) for one, top in zip((first, second), tops))
    counts = np.histogram2d(a, b, bins=BINS)[0]
    joint, *alone = (_entropy(part) for part in (counts, counts.sum(0), counts.sum(1)))
    return float(2 - 2 * joint / sum(alone)) if sum(alone) > 0 else 0.0


def _entropy(counts: Array) -> float:
    shares = counts[counts > 0] / counts.sum()
    return float(-(shares * np.log(shares)).sum())


def _likeness(first: Array, second: Array, inside: Array) -> float:
    """The median |r| of neighbourhoods that lie in the body, at least half of each."""
    if not inside.any():
        return 0.0
    weight = inside.astype(np.float32)

    def mean(values: Array) -> Array:
        return np.asarray(ndimage.uniform_filter(values * weight, 2 * WINDOW + 1, mode="constant"))

    share = mean(np.ones_like(weight))
    counted = inside & (share >= 0.5)
    if not counted.any():
        return 0.0
    share = np.maximum(share, 1e-6)
    a, b = (one - one[inside].mean() for one in (first, second))
    middle_a, middle_b = mean(a) / share, mean(b) / share
    spread_a = mean(a * a) / share - middle_a**2
    spread_b = mean(b * b) / share - middle_b**2
    together = mean(a * b) / share - middle_a * middle_b
    with np.errstate(divide="ignore", invalid="ignore"):
        r = np.abs(together) / np.sqrt(spread_a * spread_b)
    return float(np.median(np.nan_to_num(r[counted], posinf=0.0)))
