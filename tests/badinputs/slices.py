"""Every fault of DICOM: what is changed in a series of six slices, and what is expected."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dicoms import DRUG, PET, SIZE, UPRIGHT, made_of, series


@dataclass(frozen=True)
class Series:
    """One way in which a series is bad.

    `refused` is a part of the sentence that refuses it. Where it is empty the series is read, with
    a note that holds `note` if any, and `shear` mm from slice to slice along y.
    """

    name: str
    made: str
    make: Callable[[Path], object]
    refused: str = ""
    note: str = ""
    shear: float = 0.0


def but(**changes):
    """A series in which each slice has these values, which may depend on its number."""

    def make(folder, numbers=range(SIZE)):
        def each(number):
            return {
                name: value(number) if callable(value) else value for name, value in changes.items()
            }

        return series(folder, each, numbers)

    return make


def place(x=-5.0, y=-6.0, z=lambda n: 2.5 * n):
    """The positions of slices, each coordinate a number or a function of the slice's number."""
    return but(ImagePositionPatient=lambda n: [c(n) if callable(c) else c for c in (x, y, z)])


def pet(drug=(), **changes):
    given = {name: value for name, value in {**DRUG, **dict(drug)}.items() if value is not None}
    return but(
        **{**PET, "RadiopharmaceuticalInformationSequence": lambda n: [made_of(given)], **changes}
    )


def only(*numbers):
    return lambda folder: series(folder, numbers=numbers)


def with_file(change):
    """A series of which the second file is changed by a function of its bytes."""

    def make(folder):
        path = sorted(series(folder).iterdir())[1]
        path.write_bytes(change(path.read_bytes()))

    return make


def both(first, second):
    """Two series in one folder."""

    def make(folder):
        first(folder)
        for path in list(folder.iterdir()):
            path.rename(path.with_name(f"first-{path.name}"))
        second(folder)

    return make


SCOUT = but(
    ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"],
    ImageOrientationPatient=[0, 1, 0, 0, 0, -1],
    SeriesInstanceUID="1.2.9",
)
TURNED = [float(np.cos(0.1)), float(np.sin(0.1)), 0, float(-np.sin(0.1)), float(np.cos(0.1)), 0]
SERIES = [
    Series("whole", "nothing is wrong", series),
    Series("gap", "a slice is missing", only(0, 1, 3, 4, 5), "lacks 1 of its slices"),
    Series("gaps", "two slices are missing", only(0, 1, 2, 5), "lacks 2 of its slices"),
    Series("alternate", "slices are missing in two places", only(0, 2, 3, 5), "uneven"),
    Series("twice", "two slices at one place", place(z=lambda n: 2.5 * min(n, 4)), "place of another"),
    Series("uneven", "one step is longer", place(z=lambda n: 2.5 * n + (n > 2)), "uneven"),
    Series("aside", "one slice is shifted", place(x=lambda n: -5 + 3 * (n == 2)), "off their line"),
    Series("tilt", "a tilted gantry", place(y=lambda n: -6 + 0.3 * n), note="tilt of 6.84 degrees", shear=-0.3),
    Series("patients", "slices of two patients", but(PatientID=lambda n: f"P{n > 2}"), "2 patients"),
    Series("series", "slices of two series", but(SeriesInstanceUID=lambda n: f"1.2.{n > 2:d}"), "2 series"),
    Series("frames", "two frames of reference", but(FrameOfReferenceUID=lambda n: f"1.2.{n > 2:d}"), "2 frames of reference"),
    Series("spacings", "two spacings", but(PixelSpacing=lambda n: [2, 0.5 + (n > 2)]), "2 spacings"),
    Series("orientations", "one slice of another orientation", but(ImageOrientationPatient=lambda n: TURNED if n == 3 else UPRIGHT), "2 orientations"),
    Series("stacks", "two phases in one series", both(series, but(AcquisitionNumber=2, SOPInstanceUID=lambda n: f"1.9.{n}")), "2 volumes at the same places"),
    Series("scout", "a localiser beside the series", both(SCOUT, series)),
    Series("scout-alone", "a localiser alone", SCOUT, "no CT, MR or PET|localiser|LOCALIZER"),
    Series("no-place", "no positions", but(ImagePositionPatient=None), "ImagePositionPatient"),
    Series("no-turn", "no orientation", but(ImageOrientationPatient=None), "ImageOrientationPatient"),
    Series("no-spacing", "no spacing", but(PixelSpacing=None), "PixelSpacing"),
    Series("spacing-0", "a spacing of 0", but(PixelSpacing=[2, 0]), "spacing|PixelSpacing"),
    Series("skewed", "rows and columns that are not at right angles", but(ImageOrientationPatient=[1, 0, 0, 0.3, 1, 0]), "right angles"),
    Series("no-slope", "CT without a slope", but(RescaleSlope=None), "not in HU"),
    Series("slope-0", "a slope of 0", but(RescaleSlope=0), "RescaleSlope"),
    Series("not-hu", "CT in other units", but(RescaleType="OD"), "not HU"),
    Series("inverted", "white as the lowest value", but(PhotometricInterpretation="MONOCHROME1"), "MONOCHROME1"),
    Series("colour", "colours", but(PhotometricInterpretation="RGB", SamplesPerPixel=3), "RGB"),
    Series("frames-2", "two frames without their places", but(NumberOfFrames=2), "2 frames without"),
    Series("structures", "structures under the name of images", but(Modality="RTSTRUCT"), "no CT, MR or PET|RTSTRUCT"),
    Series("cut", "pixels that break off", with_file(lambda whole: whole[:-4]), "truncated"),
    Series("cut-half", "half of a file is missing", with_file(lambda whole: whole[: len(whole) // 2]), "truncated|cut in its header|breaks off"),
    Series("text", "text under the name of a slice", with_file(lambda whole: b"hello"), "no DICOM|cannot be"),
    Series("no-bytes", "a slice of no bytes", with_file(lambda whole: b""), "no DICOM|cannot be|empty"),
    Series("syntax", "a transfer syntax that is not known", with_file(lambda whole: whole.replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.9.9.9\0")), "compressed in a way that is not known"),
    Series("pet", "PET that says all", pet()),
    Series("pet-weight", "PET without a weight", pet(PatientWeight=None), "PatientWeight"),
    Series("pet-dose", "PET without a dose", pet({"RadionuclideTotalDose": 0}), "RadionuclideTotalDose"),
    Series("pet-half-life", "PET without a half-life", pet({"RadionuclideHalfLife": None}), "RadionuclideHalfLife"),
    Series("pet-time", "PET without the time of injection", pet({"RadiopharmaceuticalStartTime": None}), "RadiopharmaceuticalStartTime"),
    Series("pet-late", "PET of which injection was 20 hours before", pet({"RadiopharmaceuticalStartTime": "020000"}), "from injection to scan"),
    Series("pet-units", "PET in counts", pet(Units="CNTS"), "7053,1009|CNTS"),
    Series("pet-lean", "SUV by lean body mass", pet(Units="GML", SUVType="LBM"), "type LBM"),
    Series("pet-raw", "PET without decay correction", pet(CorrectedImage=["ATTN"]), "decay correction"),
    Series("pet-none", "PET decayed to no known time", pet(DecayCorrection="NONE"), "DecayCorrection"),
]  # fmt: skip
