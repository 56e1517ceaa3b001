"""What all DICOM objects share: the series they belong to, who made them, their bytes."""

from __future__ import annotations

import datetime as dt
import hashlib
import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from oncoseg.blocks.segments import Segment
from oncoseg.case import Prediction
from oncoseg.extras import require
from oncoseg.write.codes import Code
from oncoseg.write.provenance import maker
from oncoseg.write.pseudonyms import Pseudonyms, uid_of
from oncoseg.write.source import Stack, text

NOTICE = "Research use only"
SERIES = {
    "seg": 9101,
    "labelmap": 9102,
    "lesions": 9103,
    "rtstruct": 9104,
    "sr": 9105,
    "key-images": 9106,
}
PATIENT_AND_STUDY = (
    *("PatientName", "PatientID", "IssuerOfPatientID", "PatientBirthDate", "PatientSex"),
    *("PatientIdentityRemoved", "DeidentificationMethod"),
    *("StudyInstanceUID", "StudyDate", "StudyTime", "StudyID", "StudyDescription"),
    *("AccessionNumber", "ReferringPhysicianName"),
)


@dataclass(frozen=True)
class Origin:
    """The series whose grid a result is on, all series it was made from, and what made it."""

    stack: Stack
    inputs: Mapping[str, Stack] = field(default_factory=dict)
    made: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(
        cls, prediction: Prediction, stack: Stack, inputs: Mapping[str, Stack], new: Pseudonyms
    ) -> Origin:
        """With names and UIDs as they are to be written."""
        renamed = {name: one.under(new) for name, one in inputs.items()}
        return cls(stack.under(new), renamed, maker(prediction))

    @property
    def equipment(self) -> dict[str, Any]:
        """The maker, as attributes of the General Equipment Module."""
        return {
            "manufacturer": "oncoseg",
            "manufacturer_model_name": text(f"{self.made['name']} {self.made['version']}"),
            "software_versions": [f"oncoseg {self.made['oncoseg']}", self.made["version"]],
            "device_serial_number": self.made["sha256"],
        }

    @property
    def algorithm(self) -> str:
        """The maker and the series it was given, in a line for people and programs."""
        words = [f"model_sha256={self.made['sha256']}", f"oncoseg={self.made['oncoseg']}"]
        words += [f"{text(name, 16)}={one.series}" for name, one in self.inputs.items()]
        return ",".join(words)

    def tracking(self, segment: Segment) -> str:
        """A UID for one thing in one result: the same each time this result is written."""
        digest = hashed(segment)
        return uid_of("tracking", self.stack.series, self.made["sha256"], segment.name, digest)


def hashed(segment: Segment) -> str:
    """A digest of where a segment is."""
    place = str([(side.start, side.stop) for side in segment.box]).encode()
    return hashlib.sha256(place + np.packbits(segment.part).tobytes()).hexdigest()


def concept(code: Code) -> Any:
    """A code as highdicom takes it."""
    return require("highdicom.sr", "dicom").CodedConcept(*code)


def code_item(code: Code) -> Any:
    """A code as an item of a sequence."""
    pydicom = require("pydicom", "dicom")
    item = pydicom.Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = code
    return item


def new_uid() -> str:
    """A UID for a new object."""
    pydicom = require("pydicom.uid", "dicom")
    return str(pydicom.generate_uid(prefix=None))


def now() -> tuple[str, str]:
    """Date and time as DICOM writes them, of this machine's clock."""
    here = dt.datetime.now().astimezone()
    return here.strftime("%Y%m%d"), here.strftime("%H%M%S")


def content(dataset: Any) -> bytes:
    """The bytes of the file of an object."""
    pydicom = require("pydicom", "dicom")
    buffer = io.BytesIO()
    pydicom.dcmwrite(buffer, dataset, enforce_file_format=True)
    return buffer.getvalue()
