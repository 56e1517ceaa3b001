"""Read: a DICOM series is ordered by position, and anything uneven in it is refused."""

import numpy as np
import pytest

from oncoseg.case import Grid
from oncoseg.errors import BadFile
from oncoseg.prepare.align import covered, resample
from oncoseg.read import find, read_volume

pydicom = pytest.importorskip("pydicom", reason="needs the extra 'dicom'")

from dicoms import DRUG, PET, SHARED, SIZE, at, enhanced, series  # noqa: E402 - needs pydicom


def refused(folder, words):
    with pytest.raises(BadFile, match=words) as caught:
        read_volume(folder)
    message = str(caught.value)
    assert str(folder) in message
    assert "Smith" not in message
    assert "\n" not in message


def test_slices_are_ordered_by_position_and_the_frame_is_ras(tmp_path):
    volume = read_volume(series(tmp_path / "s"))
    assert volume.array.shape == (3, 4, SIZE)
    assert volume.array.dtype == np.int16
    assert volume.array[0, 0].tolist() == [10 * n - 1024 for n in range(SIZE)]
    assert volume.array[1, 0, 0] == 7 - 1024  # i runs along the row
    expected = np.array([[-0.5, 0, 0, 5], [0, -2, 0, 6], [0, 0, 2.5, 0], [0, 0, 0, 1]])
    assert np.allclose(volume.grid.affine, expected)


def test_oblique_stacks_keep_their_place(tmp_path):
    turn = np.linalg.qr(np.random.default_rng(3).normal(size=(3, 3)))[0]
    along, down = turn[:, 0], turn[:, 1]
    normal = np.cross(along, down)
    volume = read_volume(
        series(
            tmp_path / "s",
            lambda n: {
                "ImageOrientationPatient": [float(f"{x:.8f}") for x in (*along, *down)],
                "ImagePositionPatient": [float(f"{x:.8f}") for x in 4 * n * normal],
            },
        )
    )
    there = volume.grid.affine @ [2, 3, 4, 1]
    expected = 2 * 0.5 * along + 3 * 2 * down + 4 * 4 * normal
    assert np.allclose(there[:3], expected * [-1, -1, 1], atol=1e-4)


def test_a_tilted_gantry_makes_a_sheared_grid_and_a_note(tmp_path):
    volume = read_volume(
        series(tmp_path / "s", lambda n: {"ImagePositionPatient": [-5, -6 + 0.3 * n, 2.5 * n]})
    )
    assert np.allclose(volume.grid.affine[:3, 2], [0, -0.3, 2.5])
    assert volume.grid.sheared
    assert volume.grid.voxel_volume == pytest.approx(0.5 * 2 * 2.5)
    assert "tilt of 6.84 degrees" in volume.notes[0]


def test_a_tilted_scan_is_resampled_by_its_true_geometry(tmp_path):
    """A value that is linear in millimetres is the same on any grid."""

    def ramp(place):
        return place @ [1, 2, 3] + 500

    def tilted(number):
        corner = np.array([-5, -6 + 0.8 * number, 2.5 * number])
        columns, rows = np.meshgrid(np.arange(12), np.arange(10))
        places = corner + np.stack([0.5 * columns, 2.0 * rows, 0 * rows], axis=-1)
        pixels = np.rint(100 * ramp(places)).astype(np.uint16)
        size = {"Rows": 10, "Columns": 12, "PixelRepresentation": 0, "RescaleIntercept": 0}
        return {
            "ImagePositionPatient": list(corner),
            "RescaleSlope": 0.01,
            "pixels": pixels,
            **size,
        }

    volume = read_volume(series(tmp_path / "s", tilted))
    upright = Grid((8, 8, 6), np.diag([-0.6, -0.9, 2.0, 1]) + 0.0)
    upright.affine[:3, 3] = 4.5, 1.0, 1.0
    values = resample(volume.array, volume.grid, upright)
    index = np.stack(np.meshgrid(*map(np.arange, upright.shape), indexing="ij"), axis=-1)
    places = index @ upright.affine[:3, :3].T + upright.affine[:3, 3]
    inside = covered(volume.grid, upright) & covered(inner(volume.grid), upright)
    assert inside.mean() > 0.2
    assert np.allclose(values[inside], ramp(places * [-1, -1, 1])[inside], atol=0.02)


def inner(grid):
    """Without its outermost voxels, between whose centres and edges nothing is known."""
    affine = grid.affine.copy()
    affine[:3, 3] = (grid.affine @ [1, 1, 1, 1])[:3]
    return Grid(tuple(size - 2 for size in grid.shape), affine)


def test_one_slice_stands_for_its_series(tmp_path):
    folder = series(tmp_path / "s")
    file = sorted(folder.iterdir())[2]
    assert (read_volume(file).array == read_volume(folder).array).all()


def test_every_slice_has_its_own_slope(tmp_path):
    volume = read_volume(series(tmp_path / "s", lambda n: {"RescaleSlope": n + 0.5}))
    assert volume.array.dtype == np.float32
    assert volume.array[0, 0].tolist() == [10 * n * (n + 0.5) - 1024 for n in range(SIZE)]


@pytest.mark.parametrize(
    ("numbers", "words"),
    [((0, 1, 3, 4, 5), "lacks 1 of its slices"), ((0, 1, 2, 5), "lacks 2 of its slices")],
)
def test_missing_slices_are_refused(tmp_path, numbers, words):
    refused(series(tmp_path / "s", numbers=numbers), words)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (lambda n: {"ImagePositionPatient": [-5, -6, 2.5 * min(n, 4)]}, "place of another"),
        (lambda n: {"ImagePositionPatient": [-5, -6, 2.5 * n + (n > 2)]}, "uneven"),
        (lambda n: {"ImagePositionPatient": [-5 + 3 * (n == 2), -6, 2.5 * n]}, "off their line"),
        (lambda n: {"PatientID": f"Smith{n > 2}"}, "2 patients"),
        (lambda n: {"SeriesInstanceUID": f"1.2.{n > 2:d}"}, "2 series"),
        (lambda n: {"FrameOfReferenceUID": f"1.2.{n > 2:d}"}, "2 frames of reference"),
        (lambda n: {"PixelSpacing": [2, 0.5 + (n > 2)]}, "2 spacings"),
        (
            lambda n: {"ImageOrientationPatient": [1, 0, 0, 0, n < 3, n >= 3]},
            "more than one stack of slices .2 orientations",
        ),
        (lambda n: {"ImagePositionPatient": None}, "no ImagePositionPatient"),
        (lambda n: {"RescaleSlope": None}, "not in HU"),
        (lambda n: {"RescaleSlope": 0}, "RescaleSlope"),
        (lambda n: {"PhotometricInterpretation": "MONOCHROME1"}, "MONOCHROME1"),
        (lambda n: {"NumberOfFrames": 2}, "2 frames without their places"),
        (lambda n: {"ImageOrientationPatient": [1, 0, 0, 0.3, 1, 0]}, "right angles"),
        (lambda n: {"Modality": "RTSTRUCT"}, "no CT, MR or PET"),
    ],
)
def test_what_would_measure_wrong_is_refused(tmp_path, changes, words):
    refused(series(tmp_path / "s", changes), words)


def test_truncated_slices_are_refused(tmp_path):
    folder = series(tmp_path / "s")
    file = sorted(folder.iterdir())[1]
    file.write_bytes(file.read_bytes()[:-4])
    refused(folder, "is truncated: it lacks 4 bytes")


def test_localisers_are_left_out(tmp_path):
    folder = series(tmp_path / "s")
    other = {
        "ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"],
        "ImageOrientationPatient": [0, 1, 0, 0, 0, -1],
    }
    series(folder, lambda n: other, numbers=(3,), name="scout{}.dcm")
    assert read_volume(folder).array.shape == (3, 4, SIZE)


def pet(number, drug=(), **changes):
    return {**PET, "RadiopharmaceuticalInformationSequence": {**DRUG, **dict(drug)}, **changes}


def test_activity_becomes_suv_by_body_weight(tmp_path):
    volume = read_volume(series(tmp_path / "start", pet))
    # One half-life after 7 MBq: 70 000 g / 3.5 MBq = 0.02.
    assert np.allclose(volume.array[0, 0], [0.02 * 10 * n for n in range(SIZE)])
    given = series(tmp_path / "admin", lambda n: pet(n, DecayCorrection="ADMIN"))
    assert np.allclose(read_volume(given).array[0, 0], [0.01 * 10 * n for n in range(SIZE)])
    suv = series(tmp_path / "gml", lambda n: {"Modality": "PT", "Units": "GML"})
    assert read_volume(suv).array[0, 0, 1] == 10 - 1024


@pytest.mark.parametrize(
    ("drug", "changes", "words"),
    [
        ({}, {"PatientWeight": None}, "PatientWeight"),
        ({"RadionuclideTotalDose": 0}, {}, "RadionuclideTotalDose"),
        ({"RadionuclideHalfLife": None}, {}, "RadionuclideHalfLife"),
        ({"RadiopharmaceuticalStartTime": None}, {}, "RadiopharmaceuticalStartTime"),
        ({"RadiopharmaceuticalStartTime": "020000"}, {}, "from injection to scan"),
        ({}, {"Units": "CNTS"}, "7053,1009"),
        ({}, {"Units": "GML", "SUVType": "LBM"}, "type LBM"),
        ({}, {"CorrectedImage": ["ATTN"]}, "decay correction"),
        ({}, {"DecayCorrection": "NONE"}, "DecayCorrection 'NONE'"),
        ({}, {"SeriesTime": "003000"}, "made anew"),
    ],
)
def test_pet_whose_header_tells_too_little_is_refused(tmp_path, drug, changes, words):
    refused(series(tmp_path / "s", lambda n: pet(n, drug, **changes)), words)


def test_a_scan_made_anew_is_timed_by_its_frames(tmp_path):
    # Frames of 20 s; the middle of their counts is 10 s after their start but for decay (0.005 s).
    frames = {"FrameReferenceTime": 609994.7, "ActualFrameDuration": 20000}
    made = {"SeriesTime": "093000", "AcquisitionTime": "002000.00", **frames}
    folder = series(tmp_path / "s", lambda n: pet(n, **made))
    assert np.allclose(read_volume(folder).array[0, 0, 1], 0.2, rtol=1e-4)


def test_philips_counts_become_suv_by_its_own_factors(tmp_path):
    def counts(element, value, **changes):
        def made(number):
            return {**pet(number), "Units": "CNTS", "philips": (element, value), **changes}

        return made

    own = philips(tmp_path / "suv", counts(0x00, "0.25"))
    assert np.allclose(read_volume(own).array[0, 0], [2.5 * n for n in range(SIZE)])
    activity = philips(tmp_path / "activity", counts(0x09, "2"))
    assert np.allclose(read_volume(activity).array[0, 0], [0.4 * n for n in range(SIZE)])
    refused(philips(tmp_path / "none", counts(0x09, "0")), "counts without the factors")


def philips(folder, changes):
    from dicoms import head

    folder.mkdir()
    for number in range(SIZE):
        values = changes(number)
        element, value = values.pop("philips")
        made = head(number, **values)
        block = made.private_block(0x7053, "Philips PET Private Group", create=True)
        block.add_new(element, "DS", value)
        made.save_as(folder / f"{number}.dcm", enforce_file_format=True)
    return folder


NUCLIDE = [{"CodeValue": "C-111A1", "CodeMeaning": "^18^Fluorine"}]


@pytest.mark.parametrize(
    ("drug", "changes", "words"),
    [
        ({"RadionuclideTotalDose": 370}, {}, "not plausible in Bq .is it in MBq"),
        ({"RadionuclideTotalDose": 1e15}, {}, "not plausible in Bq"),
        ({"RadionuclideHalfLife": 1.83}, {}, "not plausible in s"),
        ({"RadionuclideHalfLife": 109.8, "RadionuclideCodeSequence": NUCLIDE}, {}, "6586.2 s"),
        ({}, {"PatientWeight": 70000}, "not plausible in kg"),
        ({}, {"PatientWeight": 0.07}, "not plausible in kg"),
        ({}, {"Units": "PROPCPS"}, "units 'PROPCPS'"),
    ],
)
def test_doses_weights_and_half_lives_must_be_plausible(tmp_path, drug, changes, words):
    refused(series(tmp_path / "s", lambda n: pet(n, drug, **changes)), words)


def test_slices_of_one_pet_agree(tmp_path):
    folder = series(tmp_path / "s", lambda n: pet(n, PatientWeight=70 + (n == 3)))
    refused(folder, "slices differ in PatientWeight")


def test_enhanced_pet_is_decayed_to_the_time_it_was_corrected_to(tmp_path):
    unit = {"MeasurementUnitsCodeSequence": {"CodeValue": "Bq/ml"}}
    shared = {**SHARED, "RealWorldValueMappingSequence": unit}
    shared["PixelValueTransformationSequence"] = {"RescaleSlope": 1, "RescaleIntercept": 0}
    drug = {
        "RadionuclideTotalDose": 7e6,
        "RadionuclideHalfLife": 6600,
        "RadiopharmaceuticalStartDateTime": "20200101222000",
    }
    said = {
        "Modality": "PT",
        "DecayCorrected": "YES",
        "AttenuationCorrected": "YES",
        "DecayCorrectionDateTime": "20200102001000.00",
        "PatientWeight": 70,
        "RadiopharmaceuticalInformationSequence": drug,
    }
    frames = [at((-5, -6, 2.5 * n)) for n in range(SIZE)]
    volume = read_volume(enhanced(tmp_path / "1.dcm", frames, shared=shared, **said))
    assert np.allclose(volume.array[0, 0], [0.2 * n for n in range(SIZE)])
    said["DecayCorrected"] = "NO"
    refused(enhanced(tmp_path / "2" / "2.dcm", frames, shared=shared, **said).parent, "decay corr")


def test_grids_are_those_of_an_independent_reader(tmp_path):
    sitk = pytest.importorskip("SimpleITK", reason="compares with SimpleITK")
    turn = np.linalg.qr(np.random.default_rng(8).normal(size=(3, 3)))[0]
    along, down = turn[:, 0], turn[:, 1]
    normal = np.cross(along, down)
    folder = series(
        tmp_path / "s",
        lambda n: {
            "ImageOrientationPatient": [float(f"{x:.9f}") for x in (*along, *down)],
            "ImagePositionPatient": [float(f"{x:.9f}") for x in 4 * n * normal + 7],
        },
    )
    names = sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder))
    image = sitk.ReadImage(names)
    volume = read_volume(folder)
    for index in np.ndindex(2, 2, 2):
        corner = [int(place) for place in np.multiply(index, np.array(volume.grid.shape) - 1)]
        there = np.array(image.TransformIndexToPhysicalPoint(corner)) * [-1, -1, 1]
        assert np.allclose((volume.grid.affine @ [*corner, 1])[:3], there, atol=1e-6)
    assert (volume.array == sitk.GetArrayFromImage(image).T).all()


@pytest.mark.data
@pytest.mark.parametrize("case", ["STS_002", "STS_008"])
@pytest.mark.parametrize("modality", ["CT", "MR_T1", "PET"])
def test_real_series_are_what_their_nifti_is(data, case, modality):
    series = read_volume(data / "sts_petctmr_dicom" / case / modality / "image")
    volume = read_volume(data / "sts_petctmr" / case / f"{modality}_image.nii.gz")
    assert series.grid.same_as(volume.grid, 1e-4)
    if modality == "PET":
        assert np.allclose(series.array, volume.array, rtol=1e-6, atol=1e-6)
    else:
        assert (series.array == volume.array).all()


@pytest.mark.data
def test_real_series_are_found_by_folder(data):
    sources = find(data / "sts_petctmr_dicom").sources
    assert [source.case for source in sources] == ["STS_002", "STS_008"]
    assert set(sources[0].images) == {"ct", "mr_t1", "pet"}
