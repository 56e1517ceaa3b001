"""Read: any scan, series or data set becomes arrays with a known place, or is refused."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from oncoseg import registry
from oncoseg.blocks import layouts
from oncoseg.blocks.modalities import COLOURS, canonical
from oncoseg.case import Array, Case, Grid, Source, Volume
from oncoseg.errors import BadData, BadFile, OncosegError
from oncoseg.read import dicom, meta, nifti, nrrd, picture
from oncoseg.read import labels as drawn
from oncoseg.read.stated import stated

__all__ = [
    "Found",
    "canonical",
    "digest",
    "find",
    "read_case",
    "read_channels",
    "read_label",
    "read_volume",
]

# The most specific first: what fits an earlier layout is not asked for a later one.
LAYOUTS = ("bids", "nnunet", "msd", "brats", "pairs", "folders", "dicom")
Reader = Callable[[Path], tuple[Array, Grid, list[str]]]
READERS: dict[str, Reader] = {
    ".nii.gz": nifti.read,
    ".nii": nifti.read,
    ".nrrd": nrrd.read,
    ".nhdr": nrrd.read,
    ".mha": meta.read,
    ".mhd": meta.read,
    **dict.fromkeys(layouts.PICTURES, picture.read),
}
PAIRS = (*layouts.PAIRS, ".img", ".img.gz")
# From a tenth of a micrometre, finer than any slide is scanned, to more than any slice is apart.
SPACINGS_MM = 1e-4, 100.0
FINE_MM = 0.01
SLAB = 1 << 22
# What libraries raise where no check foresaw it: a broken header must not end in a traceback.
NONSENSE = (
    *(ValueError, TypeError, LookupError, ArithmeticError, AttributeError, RuntimeError),
    *(AssertionError, EOFError, SyntaxError, struct.error),
)
EXACT = 2**24  # from here on, whole numbers are rounded by float32


@dataclass(frozen=True)
class Found:
    """The cases in a folder or file, and what it says of itself.

    `description` holds any of `name`, `labels`, `regions`, `modalities`, `ignore`.
    """

    layout: str
    sources: list[Source]
    description: dict[str, Any]


def find(path: Path, *, layout: str = "") -> Found:
    """The cases in a data set, in one case's folder or in one image file, without reading voxels.

    `layout` names a data set part instead of trying each. Modalities come under their canonical
    names. Raises `BadData` naming the folder: empty, laid out in no known way, or two cases under
    one name.
    """
    path = Path(path)
    if not path.exists():
        raise BadData(f"{path}: does not exist; check the path")
    if path.name.upper() == "DICOMDIR" and path.is_file():
        return find(path.parent, layout="dicom")
    if path.is_file():
        return Found("file", [_named(layouts.single(path))], {})
    if not any(path.iterdir()):
        raise BadData(f"{path}: is an empty folder; give a folder with scans in it")
    tried = (layout,) if layout else LAYOUTS
    for name in tried:
        dataset = registry.build("datasets", name)
        if layout or dataset.matches(path):
            sources = [_named(source) for source in dataset.find(path)]
            description = _described(dataset.describe(path))
            return Found(name, stated(path, sources, description), description)
    raise BadData(
        f"{path}: is laid out in none of the ways that are known ({', '.join(LAYOUTS)}); "
        "put each case in a folder, as case/t1.nii.gz and case/label.nii.gz"
    )


def read_volume(path: Path, channel: int | None = None) -> Volume:
    """One image: a file, or a folder with one DICOM series (a slice stands for its series).

    Of a file of several, that in the place `channel`. 3-D arrays have the file's voxel axes (i, j,
    k) and an affine to RAS mm; pictures are (rows, columns) on the pixel grid. Whole numbers stay
    as they are, all else is float32. Raises `BadFile` if the file is damaged, has no place in
    space, holds NaN, or is not one image.
    """
    if channel is not None:
        channels = read_channels(path)
        if not 0 <= channel < len(channels):
            cause = f"holds {len(channels)} images, of which none is number {channel + 1}"
            raise BadFile(Path(path), cause, "put back the file that was there")
        return channels[channel]
    array, grid, notes = _load(Path(path))
    if layouts.ending(Path(path)) in layouts.PICTURES:
        array = picture.grey(array)
    if array.shape != grid.shape:
        cause = f"holds {array.shape[-1]} images, not one"
        raise BadFile(path, cause, "name its channels (dataset.json), or split it")
    return Volume(array, grid, Path(path), notes)


def read_channels(path: Path) -> list[Volume]:
    """Every channel of a 4-D image or a colour picture (red, green, blue), else the one image."""
    array, grid, notes = _load(Path(path))
    if array.shape == grid.shape:
        return [Volume(array, grid, Path(path), notes)]
    channels = enumerate(np.moveaxis(array, -1, 0))
    return [Volume(channel, grid, Path(path), notes, place) for place, channel in channels]


def read_label(
    path: Path,
    *,
    labels: Mapping[str, int] | None = None,
    image: Path | None = None,
    instances: bool = False,
) -> Volume:
    """A label map: whole numbers of 0 and above, as an integer type.

    A picture of 0 and 255 is a mask and comes as 0 and 1. Structures of an RTSTRUCT or a DICOM SEG
    are taken by name, as `labels` has them (name -> value; without it, all of them), on the grid of
    `image`, the series they were drawn on (else looked for beside). Of `instances`, all are 1.
    Raises `BadFile` for anything else.
    """
    path = Path(path)
    is_picture = layouts.ending(path) in layouts.PICTURES
    array, grid, notes = _load(path, _label_reader(path, labels, image))
    array = picture.grey(array) if is_picture else array
    if array.shape != grid.shape:
        raise BadFile(path, "is no label map: it has channels or colours", "save one value a voxel")
    if array.dtype.kind == "f":
        if not (array == np.rint(array)).all():
            raise BadFile(path, "is no label map: it holds fractions", "give the label map itself")
        if np.abs(array).max() >= EXACT:
            cause = f"holds {array.max():.0f} as a floating-point number, which may be rounded"
            raise BadFile(path, cause, "save the label map as whole numbers")
        array = array.astype(np.int32)
    if array.size and int(array.min()) < 0:
        raise BadFile(path, f"is no label map: it holds {array.min()}", "use values from 0 up")
    if instances or (is_picture and array.max() == 255 and np.isin(array, (0, 255)).all()):
        array = (array > 0).astype(np.uint8)
    return Volume(array, grid, path, notes)


def digest(volume: Volume) -> str:
    """What tells a volume by its voxels alone: the same scan under two names has one digest."""
    # In the order in which most files hold them, which spares turning all of them round.
    return hashlib.sha256(np.ascontiguousarray(volume.array.T).data).hexdigest()


def read_case(
    source: Source,
    *,
    modalities: Sequence[str] = (),
    labels: Mapping[str, int] | None = None,
    failures: list[OncosegError] | None = None,
) -> Case:
    """The images and label maps of one case, checked against one another.

    Only `modalities` are read, if any are given, and matched by name; one that the case lacks is
    left out. Every value in a label map must be in `labels`, if given. Raises `BadData` if no
    modality is there, `BadFile` if a label map has other values or lies elsewhere than its image.
    Where there is a list `failures`, each of these is put on it instead, and what failed left out.
    """
    _check_name(source)
    wanted = {canonical(name) for name in modalities} or {canonical(name) for name in source.images}
    images = _images(source, wanted, failures)
    if not images and not failures:
        has = ", ".join(source.images) or "no image"
        raise BadData(f"case {source.case}: has none of {', '.join(sorted(wanted))}; it has {has}")
    maps = _labels(source, images, labels, failures)
    annotated = (source.annotated or tuple(labels or ())) if maps else ()
    weights = tuple(_weight(one) for one in source.weights) if maps else ()
    who = source.case, source.patient
    return Case(*who, images, maps, annotated, source.site, source.ignore, weights)


def _weight(given: float | Path) -> float | Volume:
    """A weight, or a map of them; raises `BadFile` unless all are from 0 to 1."""
    if not isinstance(given, Path):
        return given
    volume = read_volume(given)
    if volume.array.min() < 0 or volume.array.max() > 1:
        cause = f"holds weights from {volume.array.min():g} to {volume.array.max():g}"
        raise BadFile(given, cause, "give numbers from 0 to 1")
    return volume


def _check_name(source: Source) -> None:
    """Names that are not UTF-8 could not be written to any record of results."""
    for path in (Path(source.case), *source.images.values(), *source.labels.values()):
        try:
            str(path).encode()
        except UnicodeEncodeError as error:
            raise BadFile(path, "has a name that is no valid text (UTF-8)", "rename it") from error


@contextmanager
def _listed(failures: list[OncosegError] | None) -> Iterator[None]:
    """Put what goes wrong on the list, if there is one."""
    try:
        yield
    except OncosegError as error:
        if failures is None:
            raise
        failures.append(error)


def _images(
    source: Source, wanted: set[str], failures: list[OncosegError] | None = None
) -> dict[str, Volume]:
    """Modalities that share a file are its channels, in the order in which they are named."""
    images: dict[str, Volume] = {}
    for path, names in layouts.by_file(source).items():
        if wanted.intersection(names):
            with _listed(failures):
                images.update(_channels(path, names, wanted))
    return images


def _channels(path: Path, names: list[str], wanted: set[str]) -> dict[str, Volume]:
    volumes = [read_volume(path)] if len(names) == 1 else read_channels(path)
    if len(volumes) != len(names):
        cause = f"holds {len(volumes)} channels, but {len(names)} are named"
        raise BadFile(path, f"{cause} ({', '.join(names)})", "correct dataset.json or the file")
    coloured = set(names) == set(COLOURS)  # of which one may be dark everywhere
    for group in [volumes] if coloured else [[volume] for volume in volumes]:
        if all(volume.array.min() == volume.array.max() for volume in group):
            cause = f"holds {group[0].array.flat[0]:g} in every voxel, so it shows nothing"
            raise BadFile(path, cause, "export it again, or leave this image out")
    return {name: volume for name, volume in zip(names, volumes) if name in wanted}


def _labels(
    source: Source,
    images: Mapping[str, Volume],
    scheme: Mapping[str, int] | None,
    failures: list[OncosegError] | None,
) -> dict[str, Volume]:
    """Label maps of the images that were read; else those whose own image has the same grid."""
    there = {canonical(name): path for name, path in source.labels.items()}
    chosen = {name: path for name, path in there.items() if name in images}
    read = partial(read_label, labels=scheme, instances=source.instances)
    maps: dict[str, Volume] = {}
    for name, path in (chosen or there).items():
        with _listed(failures):
            label = read(path, image=source.images.get(name))
            _check_values(label, scheme, source.ignore)
            own = images if name in images else _images(source, {name}, failures)
            if name in own:
                _check_grid(label, own[name], name)
            same = [other for other, image in images.items() if image.grid.same_as(label.grid)]
            maps[name if name in images or not same else same[0]] = label
    return maps


def _check_values(label: Volume, scheme: Mapping[str, int] | None, ignore: int) -> None:
    if scheme is None:
        return
    allowed = {0, ignore, *scheme.values()}
    extra = [int(value) for value in np.unique(label.array) if int(value) not in allowed]
    if extra:
        listed = ", ".join(str(value) for value in extra[:5]) + (", ..." if len(extra) > 5 else "")
        word = "label" if len(extra) == 1 else "labels"
        cause = f"holds {word} {listed}, which is not in the scheme {dict(scheme)}"
        raise BadFile(label.path, cause, "correct the label map or the scheme")


def _check_grid(label: Volume, image: Volume, name: str) -> None:
    here, there = label.grid, image.grid
    if here.same_as(there):
        return
    if here.shape != there.shape:
        difference = f"its shape is {here.shape}, that of {name} is {there.shape}"
    else:
        apart = float(np.abs(here.affine - there.affine).max())
        difference = f"its affine differs from that of {name} by up to {apart:.4g} mm"
    remedy = f"resample it onto {image.path.name}, or export both again"
    raise BadFile(label.path, f"does not lie on its image: {difference}", remedy)


def _load(path: Path, reader: Reader | None = None) -> tuple[Array, Grid, tuple[str, ...]]:
    if not path.exists():
        cause = "is a link to nothing" if path.is_symlink() else "does not exist"
        raise BadFile(path, cause, "check the path")
    if path.is_dir() and layouts.ending(path):
        raise BadFile(path, "is a folder with the name of a scan", "move the scan out of it")
    try:
        array, grid, notes = (reader or _reader(path))(path)
    except (OSError, MemoryError) as error:
        raise BadFile(path, f"cannot be read ({error})", "check the disk and rights") from error
    except NONSENSE as error:
        cause = f"has contents that make no sense ({' '.join(str(error).split())})"
        raise BadFile(path, cause, "copy or download it again") from error
    _check(path, array, grid)
    if grid.dims == 3 and max(grid.spacing) < FINE_MM:
        notes.append(
            f"its voxels are {max(grid.spacing):.2g} mm at most; were metres written for mm?"
        )
    if grid.sheared:
        notes.append("its axes are not at right angles; it was resampled by its true geometry")
    return array, grid, tuple(notes)


def _is_dicom(path: Path) -> bool:
    return layouts.is_dicom(path) or path.name.upper() == "DICOMDIR"


def _label_reader(
    path: Path, labels: Mapping[str, int] | None, image: Path | None
) -> Reader | None:
    """What reads label maps otherwise than images: drawings in DICOM, and colours in pictures."""
    suffix = layouts.ending(path)
    if suffix in layouts.PICTURES:
        return picture.read_label
    if path.exists() and (path.is_dir() or (suffix not in READERS and layouts.is_dicom(path))):
        return partial(drawn.read, labels=labels, image=image)
    return None


def _reader(path: Path) -> Reader:
    suffix = layouts.ending(path)
    if path.is_dir() or (suffix not in READERS and _is_dicom(path)):
        return dicom.read
    if path.name.lower().endswith(PAIRS):
        cause = "is Analyze or half of a NIfTI pair, in which left and right are not certain"
        raise BadFile(path, cause, "convert it to .nii.gz with a program that knows its origin")
    if suffix not in READERS:
        known = ", ".join(READERS)
        raise BadFile(path, "is of no kind that can be read", f"use {known} or DICOM")
    return READERS[suffix]


def _check(path: Path, array: Array, grid: Grid) -> None:
    affine = grid.affine
    if not np.isfinite(affine).all() or np.abs(affine).max() > 1e6:
        raise BadFile(path, "has an affine that is not finite or absurdly large", "export it again")
    if min(grid.spacing) < SPACINGS_MM[0] or max(grid.spacing) > SPACINGS_MM[1]:
        cause = f"has a spacing of {tuple(round(length, 6) for length in grid.spacing)} mm"
        limits = "not above 0 and at most 100" if grid.dims == 3 else "not above 0 or absurd"
        raise BadFile(path, f"{cause}, {limits}", "export it again, in mm")
    directions = affine[:-1, :-1] / np.array(grid.spacing)
    if abs(float(np.linalg.det(directions))) < 1e-3:
        raise BadFile(path, "has a singular affine: its axes lie in one plane", "export it again")
    if array.size == 0:
        raise BadFile(path, f"holds no voxel (shape {array.shape})", "export it again")
    if array.dtype.kind == "f" and (count := _strange(array)):
        raise BadFile(path, f"holds NaN or infinity in {count} voxels", "replace them on purpose")


def _strange(array: Array) -> int:
    """How many numbers are not finite, counted a piece at a time to need no memory for it."""
    flat = array.ravel("K")
    pieces = (flat[start : start + SLAB] for start in range(0, flat.size, SLAB))
    return sum(len(piece) - int(np.count_nonzero(np.isfinite(piece))) for piece in pieces)


def _named(source: Source) -> Source:
    """The source with canonical names; raises `BadData` where two files get one name."""
    for files in (source.images, source.labels):
        seen: dict[str, str] = {}
        for name in files:
            if (other := seen.setdefault(canonical(name), name)) != name:
                both = f"'{other}' and '{name}', which both mean {canonical(name)}"
                raise BadData(f"{files[name]}: case {source.case} has {both}; remove or rename one")
    return replace(
        source,
        images={canonical(name): path for name, path in source.images.items()},
        labels={canonical(name): path for name, path in source.labels.items()},
    )


def _described(description: dict[str, Any]) -> dict[str, Any]:
    if "modalities" not in description:
        return description
    return {**description, "modalities": [canonical(name) for name in description["modalities"]]}
