"""DICOM files one by one: what each says before its pixels, or why it cannot be read."""

from __future__ import annotations

import functools
import hashlib
import mmap
import struct
import warnings
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from oncoseg.blocks.elements import check_whole, start_of
from oncoseg.errors import BadFile
from oncoseg.extras import require

AGAIN = "export it again, complete"
DEFLATED = b"1.2.840.10008.1.2.1.99"
# What may tell volumes at the same places apart, the most telling first.
PHASES = (
    *("EchoNumbers", "EchoTime", "EffectiveEchoTime", "InversionTime", "DiffusionBValue"),
    *("b-value", "TemporalPositionIdentifier", "TemporalPositionIndex", "TriggerTime"),
    *("NominalPercentageOfCardiacPhase", "NominalCardiacTriggerDelayTime", "ImageType"),
    *("FrameType", "AcquisitionNumber", "StackID", "ConvolutionKernel", "KVP", "FlipAngle"),
    *("FrameReferenceTime", "AcquisitionTime", "ContentTime"),
)
B_VALUES = ((0x0019, 0x100C), (0x0043, 0x1039))  # as Siemens and GE keep it
PLAIN = (
    *("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "Modality"),
    *("PatientID", "SeriesDescription", "FrameOfReferenceUID", "ImageOrientationPatient"),
    *("ImagePositionPatient", "PixelSpacing", "SliceThickness", "SpacingBetweenSlices"),
    *("Rows", "Columns", "NumberOfFrames", "SamplesPerPixel", "PhotometricInterpretation"),
    *("BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "LossyImageCompression"),
    *("ModalityLUTSequence", "RescaleSlope", "RescaleIntercept", "RescaleType"),
    *("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"),
    *("Units", "SUVType", "CorrectedImage", "DecayCorrection", "PatientWeight"),
    *("RadiopharmaceuticalInformationSequence", "SeriesDate", "SeriesTime", "AcquisitionDate"),
    *("ActualFrameDuration", "DecayCorrected", "AttenuationCorrected", "DecayCorrectionDateTime"),
)
PRIVATE = ((0x7053, 0x10), (0x7053, 0x1000), (0x7053, 0x1009), (0x0009, 0x10), (0x0009, 0x100D))
HEAD = (*PLAIN, *(name for name in PHASES if name != "b-value"), *B_VALUES, *PRIVATE)


@dataclass(frozen=True)
class Instance:
    """One file: what it says before its pixels, and at which byte of it they begin."""

    path: Path
    head: Any
    start: int

    def text(self, name: str) -> str:
        """A value as a word that can be shown; "" where there is none."""
        with understood(self.path):
            return shown(self.head.get(name, ""))

    def values(self, names: Sequence[str]) -> dict[str, Any]:
        """What is there of some elements, by keyword."""
        tags, head = tags_of(tuple(names)), self.head
        return {name: head[tag].value for name, tag in tags.items() if tag in head}


def instance(path: Path, *, whole: bool = False) -> Instance:
    """The header of a file, of which only what readers need is kept (`whole`: everything).

    Its values are understood when they are looked at, which is to be done within `understood`.
    Raises `BadFile` with the file, whatever is wrong with it.
    """
    pydicom = require("pydicom", "dicom")
    with understood(path), mapped(path) as handle:
        if DEFLATED in handle.read(1024):
            raise BadFile(path, "is deflated as a whole", "export it without compression")
        handle.seek(0)
        tags = None if whole else [*tags_of(HEAD).values()]
        head = pydicom.dcmread(handle, stop_before_pixels=True, specific_tags=tags)
        start, syntax = handle.tell(), str(head.file_meta.get("TransferSyntaxUID", ""))
        if whole or start >= len(handle):  # without pixels, its last element may be cut
            check_whole(handle, len(handle), start_of(handle), syntax)
        return Instance(path, head, start)


@contextmanager
def mapped(path: Path) -> Iterator[mmap.mmap]:
    """A file to read from that never gives, nor sets memory aside for, more bytes than it has.

    A plain one would set aside what a damaged length asks for.
    """
    with (
        path.open("rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as handle,
    ):
        yield handle


@contextmanager
def understood(path: Path) -> Iterator[None]:
    """Whatever a file of nonsense makes a parser raise becomes a `BadFile` that names it."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except _faults() as error:
        cause = f"is no DICOM file that can be read ({shown(error, 200)})"
        raise BadFile(path, cause, AGAIN) from error


@functools.cache
def _faults() -> tuple[type[Exception], ...]:
    """All that pydicom and its plug-ins were seen to raise on damaged files."""
    errors = require("pydicom.errors", "dicom")
    unfit = (errors.InvalidDicomError, errors.BytesLengthException)
    values = (ValueError, TypeError, LookupError, ArithmeticError, AttributeError, RuntimeError)
    storage = (OSError, EOFError, MemoryError, AssertionError, struct.error, zlib.error)
    return (*values, *storage, *unfit)


@functools.cache
def tags_of(names: tuple[Any, ...]) -> dict[Any, Any]:
    """Keyword -> tag, looked up once."""
    tag = require("pydicom.tag", "dicom").Tag
    return {name: tag(name) for name in names}


def shown(value: Any, most: int = 64) -> str:
    """Text from a file as one printable line: no control characters, no endless words."""
    text = str(value)
    if not text.isprintable():
        text = "".join(sign if sign.isprintable() else " " for sign in text)
    return " ".join(text.split())[:most]


def digest(identity: str) -> str:
    """A short name that does not tell the identity."""
    return "p" + hashlib.sha256(identity.encode()).hexdigest()[:10]
