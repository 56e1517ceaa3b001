"""Reports under pseudonyms: what the input says of its patient is taken out of every text.

Fields that name the input are replaced. Free text (notes, what findings say) may repeat any of
them, so there every word of the case's name and paths, every text by which its DICOM series names
patient and study, every date and every UID is removed, if need be with a harmless word too many.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from oncoseg import files
from oncoseg.blocks.instances import instance
from oncoseg.blocks.layouts import is_dicom, patient_of, stem
from oncoseg.case import Prediction
from oncoseg.errors import BadRun, OncosegError
from oncoseg.report.plates import SURFACES
from oncoseg.report.records import Plate
from oncoseg.write import Pseudonyms
from oncoseg.write.provenance import renamed
from oncoseg.write.source import IDENTITY, silent

REMOVED = "(removed)"
# Words of paths that tell nobody, and without which many a sentence could not be read.
GENERIC = {
    *("abdomen", "anat", "and", "baseline", "before", "brain", "case", "cases", "chest"),
    *("data", "dcm", "derivatives", "desktop", "dicom", "documents", "downloads", "for"),
    *("head", "home", "image", "images", "json", "label", "labels", "lesion", "lesions"),
    *("mask", "masks", "media", "mnt", "neck", "nifti", "nii", "now", "out", "output"),
    *("outputs", "patient", "patients", "png", "predictions", "private", "reports"),
    *("results", "root", "scan", "scans", "series", "ses", "studies", "study", "sub"),
    *("test", "the", "tmp", "train", "tumor", "tumour", "users", "var", "visit", "with"),
    *("work"),
}
OWN = ("title", "name", "unit", "region", "lesion", "plane", "format")
DATES = (
    r"(?<!\d)(?:19|20)\d\d([-./ ]?)(?:0[1-9]|1[0-2])\1(?:0[1-9]|[12]\d|3[01])(?!\d)",
    r"(?<!\d)\d{1,2}([-./])\d{1,2}\2(?:19|20)\d\d(?!\d)",
)
UID = r"(?<![\d.])[0-2](?:\.\d+){4,}(?![\d.]*\d)"
LONG = 5  # letters from which a word is removed also within others
NOTE = (
    "Pseudonymised: what names the patient, dates and UIDs were taken out, also of sentences. "
    "Pictures were not searched for writing that is part of the image; surfaces are not shown, "
    "since they may show a face."
)


@dataclass(frozen=True)
class Veil:
    """The name that a case has under a key, and what must not be said of it."""

    case: str
    words: re.Pattern[str]
    pseudonyms: Pseudonyms

    @classmethod
    def over(
        cls, prediction: Prediction, path: Path, pseudonyms: Pseudonyms, more: Iterable[str] = ()
    ) -> Veil:
        """Of a prediction and the path of its record; `more` names are not to be said either."""
        task = prediction.task
        shown = {*task.modalities, *task.labels, *task.regions, task.name}
        harmless = {word.casefold() for name in shown for word in (name, *_split(name))}
        words = {word for word in _told(prediction, path, more) if word.casefold() not in harmless}
        listed = sorted((word for word in words if len(word) > 1), key=lambda word: -len(word))
        patterns = [*DATES, UID, *map(_pattern, listed)]
        return cls(
            case=named(prediction.case, pseudonyms),
            words=re.compile("|".join(patterns), re.IGNORECASE),
            pseudonyms=pseudonyms,
        )

    def text(self, words: str) -> str:
        """A sentence without what must not be said."""
        return self.words.sub(REMOVED, words)

    def plain(self, value: Any) -> Any:
        """Plain data, whose texts but names of measurements are taken for sentences."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, Mapping):
            return {
                key: one if key in OWN and isinstance(one, str) else self.plain(one)
                for key, one in value.items()
            }
        return [self.plain(one) for one in value] if isinstance(value, (list, tuple)) else value

    def prediction(self, prediction: Prediction) -> Prediction:
        """The same without names, paths, UIDs and checksums of files."""
        return prediction.but(
            case=self.case,
            images={name: Path(name) for name in prediction.images},
            inputs=renamed(prediction.inputs, self.pseudonyms),
            notes=(*map(self.text, prediction.notes), NOTE),
            model={
                key: one if key in ("name", "version", "sha256") else self.text(str(one))
                for key, one in prediction.model.items()
            },
        )

    def record(self, record: Mapping[str, Any]) -> dict[str, Any]:
        """The record with the label map named as the case is now."""
        digest = self.pseudonyms.name(str(record["label_sha256"]))
        return {**record, "label": f"{self.case}.nii.gz", "label_sha256": digest}


def named(case: str, pseudonyms: Pseudonyms) -> str:
    """What a case is called under a key, as in what `oncoseg write` makes."""
    return pseudonyms.name(f"case {case}")


def patient(name: str, pseudonyms: Pseudonyms) -> str:
    """What a patient is called under a key, as in what `oncoseg write` makes."""
    return pseudonyms.name(f"patient {name}")


def _told(prediction: Prediction, path: Path, more: Iterable[str]) -> Iterator[str]:
    """Every word that may tell the patient."""
    names = [prediction.case, patient_of(prediction.case), path.stem, *more]
    for one in (path, *prediction.images.values()):
        names += [part for where in (one, one.absolute()) for part in where.parts[1:]]
        names += [stem(one), one.stem]
    for name in names:
        if name.casefold() not in GENERIC:
            yield name
        yield from (word for word in _split(name) if word.casefold() not in GENERIC)
    for one in prediction.images.values():
        yield from _identity(one)


def _split(name: str) -> list[str]:
    """`Doe_Jane-03` -> Doe, Jane; numbers of one or two digits tell nobody."""
    return [word for word in re.split(r"[\W_]+", name) if len(word) > 2]


def _identity(path: Path) -> Iterator[str]:
    """What the headers of a DICOM series say of patient and study."""
    if not path.exists():
        return
    there = [path] if path.is_file() else sorted(one for one in path.iterdir() if one.is_file())
    for file in there[:1]:
        try:
            with silent():
                head = instance(file, whole=True).head if is_dicom(file) else {}
        except (OncosegError, OSError):
            return
        for tag in IDENTITY:
            text = str(head.get(tag) or "")
            yield from (text, *re.split(r"[\W_\d]+", text))


def _pattern(word: str) -> str:
    """A word wherever it stands; a short one only by itself, lest it be a part of any other."""
    safe = re.escape(word)
    return safe if len(word) >= LONG else rf"(?<![^\W_]){safe}(?![^\W_]|\.\d)"


def veiled(
    path: Path,
    prediction: Prediction,
    record: dict[str, Any],
    found: dict[str, dict[str, Any]],
    pseudonyms: Pseudonyms,
    priors: Sequence[Path] = (),
) -> tuple[Prediction, dict[str, Any], dict[str, dict[str, Any]]]:
    """Prediction, record and findings as they may be told; without pseudonyms as they are."""
    if not pseudonyms:
        return prediction, record, found
    visits = found.get("change", {}).get("visits", ())
    more = [str(one["case"]) for one in visits if "case" in one]
    more += [part for prior in priors for part in (prior.stem, *prior.absolute().parts[1:])]
    veil = Veil.over(prediction, path, pseudonyms, more)
    return veil.prediction(prediction), veil.record(record), veil.plain(found)


def shown(drawn: Sequence[Plate], pseudonyms: Pseudonyms) -> list[Plate]:
    """Pictures; under pseudonyms but those from which a face could be known."""
    return [plate for plate in drawn if not (pseudonyms and plate.heading == SURFACES)]


def pseudonyms(key: Path | None, predictions: Path, to: Path) -> Pseudonyms:
    """Those of a key, none without one; `BadRun` where files in `to` name the patients."""
    if key is None:
        return Pseudonyms()
    told = to.resolve() == predictions.resolve() or any(
        not files.read_json(path).get("pseudonymised") for path in to.glob("*.report.json")
    )
    if told:
        raise BadRun(f"{to}: holds files that name the cases; give another folder with --to")
    return Pseudonyms.of(key)
