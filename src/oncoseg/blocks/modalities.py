"""One name for each kind of scan, whatever a file, a data set or a scanner calls it."""

from __future__ import annotations

import re
from collections.abc import Sequence

ALIASES = {
    "t1": "t1 t1n t1w t1_pre t1pre t1_native t1_w",
    "t1ce": "t1ce t1c t1gd t1_gd t1post t1_post t1wce t1_ce t1_c t1km t1cw t1_wce ce_t1w t1c_w",
    "t2": "t2 t2w t2_w",
    "flair": "flair t2f t2flair t2_flair t2w_flair t2_f",
    "ct": "ct",
    "pet": "pet pt suv pet_suv fdg fdg_pet",
    "image": "image img",
}
OTHERS = (
    "mr mri mr_t1 mr_t2 mr_t1ce mr_flair t2star t2s swi pd pdw dwi adc dce dsc perfusion ktrans "
    "cect nect ct_arterial ct_portal us ultrasound mg mammogram red green blue"
)
COLOURS = ("red", "green", "blue")
QUANTITATIVE = ("ct", "pet", "suv", "adc", "hu")
_CANONICAL = {alias: name for name, aliases in ALIASES.items() for alias in aliases.split()}
KNOWN = frozenset(_CANONICAL) | frozenset(OTHERS.split())


def canonical(name: str) -> str:
    """The field's one name for a modality; a name without aliases comes back in lower case.

    `T1Gd`, `t1c` and `t1-post` are `t1ce`; `T2w` is `t2`; `PT` is `pet`; `MR_T1` is `mr_t1`, since
    that set tells its T1 from others by the prefix.
    """
    plain = re.sub(r"[\s\-.]+", "_", name.strip().lower())
    return _CANONICAL.get(plain, plain)


def known(name: str) -> bool:
    """Whether `canonical` has heard of this name."""
    return re.sub(r"[\s\-.]+", "_", name.strip().lower()) in KNOWN


def absolute(name: str) -> bool:
    """Whether a modality's name says that its unit means something, as HU and SUV do."""
    return any(word in QUANTITATIVE for word in name.lower().replace("-", "_").split("_"))


def together(names: Sequence[str]) -> list[tuple[int, ...]]:
    """Places of modalities that are there or not as one: those of colours, and each other alone.

    No scan lacks one of the three colours of a picture.
    """
    colours = tuple(place for place, name in enumerate(names) if name in COLOURS)
    if len(colours) < len(COLOURS):
        return [(place,) for place in range(len(names))]
    return [colours, *((place,) for place in range(len(names)) if place not in colours)]


def spoken(names: Sequence[str]) -> list[str]:
    """Names of modalities for a person: red, green and blue of a picture are its `colours`."""
    return ["colours" if len(places) > 1 else names[places[0]] for places in together(names)]


def from_header(modality: str, description: str) -> str:
    """DICOM Modality and SeriesDescription -> canonical name.

    MR is told by the words of the description, and is plain `mr` where they do not tell.
    """
    if modality != "MR":
        return canonical(modality)
    words = re.sub(r"[^a-z0-9+]+", " ", description.lower())
    if re.search(r"flair|dark ?fluid|tirm", words):
        return "flair"
    if re.search(r"\bt1 ?(w|tse|se|fl2d|mpr\w*)?\b|t1w|mprage|\bspgr\b|\bbravo\b", words):
        contrast = r"\+|\bgd\b|gad|post|contrast|\bce\b|t1ce|\bkm\b|\bc\b"
        native = re.search(r"\bpre\b|native|without|non ?contrast", words)
        return "t1ce" if re.search(contrast, words) and not native else "t1"
    if re.search(r"\bt1(ce|c|gd)\b", words):
        return "t1ce"
    return "t2" if re.search(r"\bt2 ?(w|tse|fse)?\b|t2w", words) else "mr"
