"""How people name files: endings, label words, modality at the end of a name, patient and visit."""

from __future__ import annotations

import csv
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image, UnidentifiedImageError

from oncoseg.blocks.modalities import COLOURS, canonical, known
from oncoseg.case import Source
from oncoseg.errors import BadData, BadFile

PICTURES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp")
PAIRS = (".hdr", ".hdr.gz")  # of Analyze and NIfTI, each with an .img: found, to be refused
ENDINGS = (".nii.gz", ".nii", ".nrrd", ".nhdr", ".mha", ".mhd", *PICTURES, *PAIRS)
LABEL_WORDS = set(
    re.findall(
        r"\w+",
        "label labels mask masks seg segs segmentation segmentations lesion lesions roi gtv tumor "
        "tumour consensus annotation annotations gt truth groundtruth dseg instances",
    )
)
IMAGE_WORDS = {"image", "img"}


@dataclass(frozen=True)
class Name:
    """What a file's name says: the case before, the modality ("" if unsaid), label or image."""

    prefix: str
    modality: str
    label: bool
    stated: bool  # whether the name says that it is an image or a label, or of what modality


def ending(path: Path) -> str:
    """`.nii.gz`, `.png`, ... in lower case; "" if it is no scan's."""
    name = path.name.lower()
    return next((ending for ending in ENDINGS if name.endswith(ending)), "")


def stem(path: Path) -> str:
    """The name without its ending."""
    return path.name[: len(path.name) - len(ending(path))]


def hidden(path: Path) -> bool:
    """Whether a system left it there: `._x`, `.DS_Store`, our own unfinished files."""
    return path.name.startswith(".") or path.name in ("Thumbs.db", "__MACOSX")


def scans(folder: Path) -> list[Path]:
    """The scans right in a folder, by name; detached `.raw` parts belong to their headers.

    A link to nothing and a folder named as a scan are among them, to be refused when they are read.
    """
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if ending(path) and not hidden(path))


def folders(folder: Path) -> list[Path]:
    """The folders right in a folder, by name."""
    inner = (path for path in folder.iterdir() if path.is_dir() and not hidden(path))
    return sorted(path for path in inner if not ending(path))


def parse(name: str) -> Name:
    """`BraTS21_001_t1ce` -> case, modality t1ce; `CT_mask` -> label on CT; `x_image` -> case x."""
    tokens = re.split(r"([_\-\s]+)", name)
    words = tokens[::2]
    count = len(words)
    while count and words[count - 1].lower() in LABEL_WORDS:
        count -= 1
    label = count < len(words)
    role = label
    if not label and count > 1 and words[-1].lower() in IMAGE_WORDS:
        count, role = count - 1, True
    modality = ""
    for length in (2, 1):
        end = "_".join(words[max(count - length, 0) : count])
        if not modality and count >= length and known(end):
            modality, count = end, count - length
    prefix = "".join(tokens[: 2 * count]).rstrip("_- ")
    return Name(prefix, modality, label, stated=role or bool(modality))


def patient_of(case: str) -> str:
    """The case without its visit: `sub-01_ses-02` is of `sub-01`, `BraTS-GLI-00001-000` too."""
    found = re.match(r"(sub-[A-Za-z0-9]+)_ses-|(BraTS-[A-Za-z]+-\d+)-\d+$", case)
    return case if not found else found.group(1) or found.group(2)


def only(sources: Sequence[Source], cases: Sequence[str]) -> list[Source]:
    """The sources of these cases, all if none is named; `BadData` for one that is not there."""
    there = {source.case for source in sources}
    gone = [case for case in cases if case not in there]
    if gone:
        raise BadData(
            f"there is no case '{gone[0]}'; there are {', '.join(sorted(there)[:5])}, ..."
        )
    return [source for source in sources if not cases or source.case in cases]


def channels(path: Path, modality: str = "image") -> dict[str, Path]:
    """Modality -> file: a colour picture is three, red, green and blue; only its header is read.

    Grey pictures that are stored as colours are one, by `modality`, as all else is.
    """
    if ending(path) not in PICTURES:
        return {modality: path}
    try:
        with Image.open(path) as image:
            colour = image.mode in ("RGB", "RGBA", "P", "PA", "CMYK", "YCbCr")
    except (UnidentifiedImageError, OSError) as error:
        cause, remedy = "is no picture that can be read", "copy or download it again"
        raise BadFile(path, cause, remedy) from error
    return dict.fromkeys(COLOURS, path) if colour else {modality: path}


def by_file(source: Source) -> dict[Path, list[str]]:
    """File -> modalities in it, by their canonical names, in the order of its channels."""
    files: dict[Path, list[str]] = {}
    for name, path in source.images.items():
        files.setdefault(path, []).append(canonical(name))
    return files


def single(path: Path) -> Source:
    """One image file (or one slice of a DICOM series) as a case of its own."""
    if not ending(path):
        if is_dicom(path):
            return Source(path.parent.name, path.parent.name, {"image": path})
        raise BadFile(path, "is of no kind that can be read", "use NIfTI, NRRD, MHA, PNG or DICOM")
    said = parse(stem(path))
    case = said.prefix or stem(path)
    return Source(case, patient_of(case), channels(path, said.modality or "image"))


def is_dicom(path: Path) -> bool:
    """Whether a file is DICOM by its ending or by its first bytes."""
    if hidden(path) or path.name.upper() == "DICOMDIR" or not path.is_file():
        return False
    if path.suffix.lower() in (".dcm", ".ima", ".dicom"):
        return True
    with path.open("rb") as handle:
        return handle.read(132)[128:] == b"DICM"


def by_stem(paths: Iterable[Path]) -> dict[str, Path]:
    """Name without ending -> file; raises `BadData` on two files of one name."""
    found: dict[str, Path] = {}
    for path in paths:
        if (other := found.setdefault(stem(path), path)) != path:
            raise BadData(
                f"{path}: {other.name} is there too, two cases under the name {stem(path)}; "
                "remove one of the two"
            )
    return found


def grouped(folder: Path) -> dict[str, dict[Path, Name]]:
    """Case -> the scans of one folder with what their names say; "" where no case is named."""
    cases: dict[str, dict[Path, Name]] = defaultdict(dict)
    for path in scans(folder):
        said = parse(stem(path))
        cases[said.prefix][path] = said
    return dict(cases)


def assembled(case: str, files: dict[Path, Name]) -> Source:
    """One case from its files: a label without a modality lies on the first image.

    Raises `BadData` where two files are the same thing, or a label map has no image.
    """
    images: dict[str, Path] = {}
    labels: dict[str, Path] = {}
    for path, said in files.items():
        if not said.label:
            for name, file in channels(path, said.modality or "image").items():
                _put(images, name.lower(), file, case)
    for path, said in files.items():
        if said.label:
            name = said.modality.lower() or next(iter(images), "")
            if name not in images:
                raise BadData(f"{path}: is a label map without an image beside it; add the image")
            _put(labels, name, path, case)
    return Source(case, patient_of(case), images, labels)


def _put(files: dict[str, Path], name: str, path: Path, case: str) -> None:
    if name in files:
        other = files[name].name
        raise BadData(f"{path}: case {case} has {other} too as its {name}; remove one of the two")
    files[name] = path


def table(path: Path, *needed: str) -> list[dict[str, str]]:
    """Rows of a text file with tabs and a head, none if it is missing; raises `BadFile`."""
    if not path.is_file():
        return []
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise BadFile(path, f"cannot be read ({error})", "save it as UTF-8 text") from error
    rows = [dict(row) for row in csv.DictReader(lines, delimiter="\t")]
    absent = [name for name in needed if any(row.get(name) is None for row in rows)]
    if absent:
        raise BadFile(path, f"lacks a column {' and '.join(absent)}", "add it, with tabs between")
    return rows


def scheme(path: Path, labels: dict[str, Any]) -> dict[str, Any]:
    """`labels` of a dataset.json -> labels by name, with regions and the ignored value if any.

    Takes both ways round, {"1": "tumour"} and {"tumour": 1}. Regions ({"whole": [1, 2]}) are kept,
    and their values become `label_1`, ... unless a name stands for that value alone.
    """
    members: dict[str, list[int]] = {}
    try:
        for key, value in labels.items():
            if str(key).isdecimal() and isinstance(value, str):
                members[value] = [int(key)]
            else:
                members[str(key)] = [
                    int(one) for one in (value if isinstance(value, list) else [value])
                ]
    except (TypeError, ValueError) as error:
        cause = f"has labels that are no whole numbers ({error})"
        raise BadFile(path, cause, 'write them as {"tumour": 1}') from error
    ignored = members.pop("ignore", [])
    members = {name: values for name, values in members.items() if values != [0]}
    alone = {values[0]: name for name, values in members.items() if len(values) == 1}
    every = sorted({value for values in members.values() for value in values})
    said: dict[str, Any] = {"labels": {alone.get(v, f"label_{v}"): v for v in every}}
    if any(len(values) > 1 for values in members.values()):
        said["regions"] = {
            name: tuple(alone.get(value, f"label_{value}") for value in values)
            for name, values in members.items()
        }
    return {**said, "ignore": ignored[0]} if ignored else said
