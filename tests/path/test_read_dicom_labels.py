"""Read: RTSTRUCT and SEG as label maps on their series; what has no one right value is refused."""

import numpy as np
import pytest

from oncoseg.errors import BadData, BadFile
from oncoseg.read import find, read_case, read_label, read_volume

pydicom = pytest.importorskip("pydicom", reason="needs the extra 'dicom'")

from dicoms import SIZE, rtstruct, seg, series  # noqa: E402 - needs pydicom

PLACES = [(0, 0, 2.0 * number) for number in range(SIZE)]
PIXELS = np.arange(480, dtype=np.int16).reshape(20, 24)
WIDE = {"Rows": 20, "Columns": 24, "PixelSpacing": [1, 1], "pixels": PIXELS}


def upright(n):
    return {**WIDE, "ImagePositionPatient": list(PLACES[n])}


def square(low, high, z):
    return [(low, low, z), (high, low, z), (high, high, z), (low, high, z)]


def drawn(tmp_path, structures, **options):
    """A series in `image`, and structures drawn on it in `mask`."""
    series(tmp_path / "image", upright)
    return rtstruct(tmp_path / "mask" / "RS.dcm", structures, **options)


def refused(path, words, **options):
    with pytest.raises(BadFile, match=words) as caught:
        read_label(path, **options)
    assert "Smith" not in str(caught.value)


def test_contours_become_the_voxels_whose_centres_they_hold(tmp_path):
    path = drawn(tmp_path, {"GTV": [square(2.5, 7.5, 2.0), square(3.5, 7.5, 4.0)]})
    label = read_label(path)
    assert label.grid.same_as(read_volume(tmp_path / "image").grid)
    expected = np.zeros((24, 20, SIZE), np.uint8)
    expected[3:8, 3:8, 1] = 1
    expected[4:8, 4:8, 2] = 1
    assert (label.array == expected).all()
    assert label.notes == ()


def test_holes_and_islands(tmp_path):
    rings = [square(1.5 + n, 15.5 - n, 2.0) for n in (0, 3, 5)]
    path = drawn(tmp_path, {"GTV": rings})
    assert read_label(path).array.sum() == 14**2 - 8**2 + 4**2
    path = drawn(tmp_path, {"GTV": rings}, kind="CLOSEDPLANAR_XOR")
    assert read_label(path).array.sum() == 14**2 - 8**2 + 4**2


def test_oblique_slices(tmp_path):
    turn = np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))[0]
    along, down = turn[:, 0], turn[:, 1]
    normal = np.cross(along, down)
    series(
        tmp_path / "image",
        lambda n: {
            **WIDE,
            "ImageOrientationPatient": [float(f"{x:.9f}") for x in (*along, *down)],
            "ImagePositionPatient": [float(f"{x:.9f}") for x in 2 * n * normal],
        },
    )
    flat = square(2.5, 7.5, 0)
    points = [tuple(x * along + y * down + 4 * normal) for x, y, _ in flat]
    label = read_label(rtstruct(tmp_path / "mask" / "RS.dcm", {"GTV": [points]}))
    expected = np.zeros((24, 20, SIZE), np.uint8)
    expected[3:8, 3:8, 2] = 1
    assert (label.array == expected).all()


def test_contours_between_slices_go_to_the_nearest_with_a_note(tmp_path):
    path = drawn(tmp_path, {"GTV": [square(2.5, 7.5, 2.6), square(2.5, 9.5, 4.6)]})
    label = read_label(path)
    assert label.array.sum(axis=(0, 1)).tolist() == [0, 25, 49, 0, 0, 0]
    assert "0.6 mm from the slices" in label.notes[0]
    path = drawn(tmp_path, {"GTV": [square(2.5, 7.5, 2.0), square(2.5, 9.5, 2.9)]})
    label = read_label(path)
    assert label.array.sum(axis=(0, 1)).tolist() == [0, 25, 0, 0, 0, 0]
    assert "planes between the slices" in label.notes[-1]


@pytest.mark.parametrize(
    ("outlines", "words"),
    [
        ([square(2.5, 7.5, 11.5)], "outside of its series, 1.5 mm beyond"),
        ([square(2.5, 7.5, -1.2)], "outside of its series, 1.2 mm beyond"),
        ([[(2, 2, 0), (8, 2, 0), (8, 8, 4), (2, 8, 4)]], "across the slices"),
        ([square(2.5, 9.5, 2.0), square(5.5, 13.5, 2.0)], "contours that cross one another on sl"),
        ([square(2.5, 9.5, 4.0 * n) for n in range(3)], "on every 2. slice alone"),
    ],
)
def test_contours_without_one_right_meaning_are_refused(tmp_path, outlines, words):
    refused(drawn(tmp_path, {"GTV": outlines}), words)


def test_what_is_odd_is_noted(tmp_path):
    far = [square(2.5, 7.5, 0.0), square(2.5, 7.5, 8.0)]
    path = drawn(tmp_path, {"GTV": [*far, square(15.5, 60, 8.0)], "dot": [square(2.6, 2.9, 0.0)]})
    notes = " ".join(read_label(path).notes)
    assert "GTV is not drawn on 3 slices between" in notes
    assert "GTV reaches beyond the edges" in notes
    assert "dot holds the centre of no voxel" in notes


STUDY = {
    "StudyID": "1",
    "StudyDate": "20200101",
    "StudyTime": "120000",
    "AccessionNumber": "1",
    "SeriesNumber": 1,
    "SliceThickness": 2,
    "PatientBirthDate": "19500101",
    "PatientSex": "O",
    "ReferringPhysicianName": "a",
}
TWO = {"GTV Mass": [square(2.5, 7.5, 2.0)], "Node": [square(9.5, 12.5, 2.0)]}


def test_structures_get_the_values_of_their_names(tmp_path):
    path = drawn(tmp_path, {**TWO, "Body": [square(-0.5, 18.5, 2.0)]})
    label = read_label(path, labels={"node": 4, "gtv_mass": 2})
    values, counts = np.unique(label.array, return_counts=True)
    assert dict(zip(values.tolist(), counts.tolist())) == {0: 24 * 20 * 6 - 34, 2: 25, 4: 9}
    assert label.notes == ("left out of its structures: Body",)
    one = read_label(path, labels={"Node": 1, "Lung": 2})
    assert one.array.sum() == 9
    assert "draws no Lung: taken as not there" in one.notes
    refused(path, "draws Body, GTV Mass, Node, none of which is Liver", labels={"Liver": 1})


def test_structures_that_overlap_are_never_painted_over(tmp_path):
    path = drawn(tmp_path, {**TWO, "Body": [square(-0.5, 18.5, 2.0)]})
    refused(path, "draws GTV Mass and Body over one another in 25 voxels")


def test_without_names_values_are_counted_and_said(tmp_path):
    label = read_label(drawn(tmp_path, TWO))
    assert "1 is GTV Mass, 2 is Node" in label.notes[0]
    assert np.unique(label.array).tolist() == [0, 1, 2]


def test_a_drawing_belongs_to_its_own_series(tmp_path):
    path = drawn(tmp_path, TWO, uid="1.2.77")
    refused(path, "on a series that is not beside it")
    refused(path, "drawn on another series than its image", image=tmp_path / "image")
    path = drawn(tmp_path, TWO, frame="1.2.77")
    refused(path, "another frame of reference")


def test_no_cut_drawing_is_accepted(tmp_path):
    for path in (drawn(tmp_path, TWO), segmented(tmp_path, SEGMENTS)):
        whole = path.read_bytes()
        for cut in range(1, len(whole) - 132, 23):
            path.write_bytes(whole[:-cut])
            with pytest.raises(BadFile):
                read_label(path)


def test_names_cannot_carry_control_characters(tmp_path):
    path = drawn(tmp_path, {"a\x1b[31mb": TWO["Node"], "c\nd": TWO["Node"]})
    with pytest.raises(BadFile) as caught:
        read_label(path)
    assert str(caught.value).isprintable()


def mask(*cells):
    made = np.zeros((20, 24), np.uint8)
    for row, column in cells:
        made[row, column] = 1
    return made


MEASURES = {
    "PlaneOrientationSequence": {"ImageOrientationPatient": [1, 0, 0, 0, 1, 0]},
    "PixelMeasuresSequence": {
        "PixelSpacing": [1, 1],
        "SliceThickness": 2,
        "SpacingBetweenSlices": 2,
    },
}


def segmented(tmp_path, segments, places=PLACES, **options):
    series(tmp_path / "image", upright)
    options = {"shape": (20, 24), "SharedFunctionalGroupsSequence": MEASURES, **options}
    return seg(tmp_path / "mask" / "SEG.dcm", segments, places, **options)


SEGMENTS = {
    "tumour": {3: mask((1, 2), (1, 3)), 1: mask((4, 5))},
    "node": {3: mask((7, 8)), 5: mask((0, 23), (19, 0))},
}


def check_segments(label):
    voxels = {tuple(place): int(label.array[tuple(place)]) for place in np.argwhere(label.array)}
    tumour = {(2, 1, 3): 1, (3, 1, 3): 1, (5, 4, 1): 1}
    assert voxels == {**tumour, (8, 7, 3): 2, (23, 0, 5): 2, (0, 19, 5): 2}


def test_segments_are_placed_by_position(tmp_path):
    label = read_label(segmented(tmp_path, SEGMENTS))
    assert label.grid.same_as(read_volume(tmp_path / "image").grid)
    check_segments(label)
    picked = read_label(tmp_path / "mask" / "SEG.dcm", labels={"node": 7})
    assert np.unique(picked.array).tolist() == [0, 7]


def test_label_maps_of_segments(tmp_path):
    frames = {n: np.zeros((20, 24), np.uint8) for n in range(SIZE)}
    for value, masks in enumerate(SEGMENTS.values(), 1):
        for number, one in masks.items():
            frames[number] += value * one
    path = segmented(
        tmp_path,
        {"all": frames},
        kind="LABELMAP",
        SegmentSequence=[
            {"SegmentNumber": 1, "SegmentLabel": "tumour"},
            {"SegmentNumber": 2, "SegmentLabel": "node"},
        ],
    )
    check_segments(read_label(path))


def test_fractions_are_inside_from_one_half(tmp_path):
    levels = np.zeros((20, 24), np.uint8)
    levels[0, :3] = 99, 100, 200
    label = read_label(segmented(tmp_path, {"tumour": {2: levels}}, kind="FRACTIONAL"))
    assert np.argwhere(label.array).tolist() == [[1, 0, 2], [2, 0, 2]]
    assert "fractional (probability); a voxel is inside from one half up" in label.notes[0]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"places": [(0.4, 0, z) for _, _, z in PLACES]}, "frame 0.4 mm beside the slices"),
        ({"places": [(0, 0, z + 1) for _, _, z in PLACES]}, "frame 1 mm beside the slices"),
        ({"places": [(0, 0, z + 20) for _, _, z in PLACES]}, "frame outside of its series"),
        ({"uid": "1.2.77"}, ""),
        ({"FrameOfReferenceUID": "1.2.77"}, "another frame of reference"),
        ({"SegmentationType": "OTHER"}, "of the kind 'OTHER'"),
        (
            {
                "SharedFunctionalGroupsSequence": {
                    **MEASURES,
                    "PixelMeasuresSequence": {"PixelSpacing": [1, 1.1], "SliceThickness": 2},
                }
            },
            "on another grid than its series",
        ),
    ],
)
def test_segments_that_lie_elsewhere_are_refused(tmp_path, options, words):
    path = segmented(tmp_path, SEGMENTS, **options)
    if words:
        refused(path, words)
        return
    label = read_label(path)  # its series is not there: a grid of its own, from slice 1 to 5
    assert label.array.shape == (24, 20, 5)
    assert "lies on a grid of its own" in label.notes[-1]
    assert np.allclose(label.grid.affine[:3, 3], [0, 0, 2])
    refused(path, "drawn on another series", image=tmp_path / "image")


def test_segments_that_overlap_are_refused(tmp_path):
    both = {"tumour": {3: mask((1, 2))}, "node": {3: mask((1, 2), (3, 3))}}
    refused(segmented(tmp_path, both), "draws tumour and node over one another in 1 voxels")


def test_a_data_set_finds_drawings_and_names(tmp_path):
    for patient, modality in (("a", "CT"), ("b", "CT"), ("b", "PT")):
        folder = tmp_path / f"case_{patient}" / {"CT": "ct", "PT": "pet"}[modality]
        uid = f"1.2.{ord(patient)}.{len(modality)}{ord(modality[0])}"
        changes = {"Modality": modality, "PatientID": patient, "SeriesInstanceUID": uid}
        units = {"Units": "GML"} if modality == "PT" else {}
        series(folder / "image", lambda n, c=changes, u=units: {**upright(n), **c, **u})
        structures = {f"GTV_{modality}": [square(2.5, 7.5, 2.0)], "Node": TWO["Node"]}
        rtstruct(folder / "mask" / "RS.dcm", structures, uid=uid)
    found = find(tmp_path)
    assert found.description == {"labels": {"GTV": 1, "Node": 2}}
    assert [sorted(source.labels) for source in found.sources] == [["ct"], ["ct", "pet"]]
    case = read_case(found.sources[1], modalities=["ct"], labels={"GTV": 1})
    assert case.labels["ct"].array.sum() == 25
    (tmp_path / "case_a" / "ct" / "image").rename(tmp_path / "away")
    for file in (tmp_path / "away").iterdir():
        file.unlink()
    with pytest.raises(BadData, match="on a series of which 0 stacks are here"):
        find(tmp_path)


@pytest.mark.parametrize("kind", ["BINARY", "LABELMAP", "FRACTIONAL"])
def test_segments_of_an_independent_writer(tmp_path, kind):
    highdicom = pytest.importorskip("highdicom", reason="reads what highdicom writes")
    from pydicom.sr.codedict import codes

    folder = series(tmp_path / "image", lambda n: {**upright(n), **STUDY})
    slices = [pydicom.dcmread(path) for path in folder.iterdir()]
    slices.sort(key=lambda one: one.ImagePositionPatient[2])
    truth = np.random.default_rng(2).integers(0, 3, (SIZE, 20, 24)).astype(np.uint8)
    truth[2] = 0  # an empty frame, which is not stored
    kinds = [
        highdicom.seg.SegmentDescription(
            number, name, codes.SCT.Tissue, codes.SCT.Neoplasm, "MANUAL"
        )
        for number, name in ((1, "tumour"), (2, "node"))
    ]
    fractional = {"fractional_type": "PROBABILITY"} if kind == "FRACTIONAL" else {}
    stacked = np.stack([truth == 1, truth == 2], axis=-1).astype(np.float32)
    made = highdicom.seg.Segmentation(
        source_images=slices,
        pixel_array=stacked if fractional else truth,
        segmentation_type=kind,
        segment_descriptions=kinds,
        series_instance_uid="1.2.30",
        series_number=2,
        sop_instance_uid="1.2.31",
        instance_number=1,
        manufacturer="none",
        manufacturer_model_name="none",
        software_versions="1",
        device_serial_number="1",
        **fractional,
    )
    (tmp_path / "mask").mkdir()
    made.save_as(tmp_path / "mask" / "SEG.dcm")
    label = read_label(tmp_path / "mask" / "SEG.dcm", labels={"tumour": 1, "node": 2})
    assert (label.array == truth.T).all()
    assert label.grid.same_as(read_volume(folder).grid, 1e-6)


@pytest.mark.data
@pytest.mark.parametrize("case", ["STS_002", "STS_008"])
@pytest.mark.parametrize("modality", ["CT", "MR_T1", "PET"])
def test_real_structures_are_the_published_masks(data, case, modality):
    label = read_label(data / "sts_petctmr_dicom" / case / modality / "mask" / "RS.dcm")
    truth = read_label(data / "sts_petctmr" / case / f"{modality}_mask.nii.gz")
    assert label.grid.same_as(truth.grid, 1e-4)
    assert (label.array == truth.array).all()


@pytest.mark.data
def test_real_structures_of_all_modalities_have_one_name(data):
    found = find(data / "sts_petctmr_dicom")
    assert found.description == {"labels": {"GTV_Mass": 1}}
    assert all(set(source.labels) == {"ct", "mr_t1", "pet"} for source in found.sources)
