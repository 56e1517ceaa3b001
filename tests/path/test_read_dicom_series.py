"""Read: phases, copies, enhanced images, DICOMDIR, compression; what is mixed or cut is refused."""

import shutil

import numpy as np
import pytest

from oncoseg.errors import BadFile
from oncoseg.read import find, read_volume

pydicom = pytest.importorskip("pydicom", reason="needs the extra 'dicom'")

from dicoms import SHARED, SIZE, at, enhanced, head, index, series  # noqa: E402 - needs pydicom

BIG_ENDIAN, IMPLICIT = "1.2.840.10008.1.2.2", "1.2.840.10008.1.2"
RLE, JPEG_LS = "1.2.840.10008.1.2.5", "1.2.840.10008.1.2.4.80"


def refused(path, words):
    with pytest.raises(BadFile, match=words) as caught:
        read_volume(path)
    assert "Smith" not in str(caught.value)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def twice(folder, changes):
    """Two volumes at the same places, of which the second has `changes`."""
    series(folder)
    more = {"SOPInstanceUID": None, **changes}
    series(folder, lambda n: {**more, "SOPInstanceUID": f"1.9.{n}"}, name="second{}.dcm")
    return folder


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"EchoNumbers": 2}, r"2 volumes at the same places, which differ in EchoNumbers \(2, no"),
        ({"TemporalPositionIdentifier": 2}, "differ in TemporalPositionIdentifier"),
        ({"TriggerTime": 40}, "differ in TriggerTime"),
        ({"DiffusionBValue": 1000.0}, "differ in DiffusionBValue"),
        ({"AcquisitionNumber": 3}, "differ in AcquisitionNumber"),
        ({"ImageType": ["DERIVED", "PRIMARY", "M"]}, "differ in ImageType .*DERIVED/PRIMARY/M"),
        ({}, r"6 slices at the place of another \(duplicates\)"),
    ],
)
def test_mixed_phases_are_named(tmp_path, changes, words):
    refused(twice(tmp_path / "s", changes), words)


def test_phases_that_do_not_coincide_are_refused_too(tmp_path):
    folder = series(tmp_path / "s", lambda n: {"EchoNumbers": 1 + n % 2})
    refused(folder, r"mixes slices which differ in EchoNumbers \(1, 2\)")


def test_a_file_that_is_there_twice_is_read_once_with_a_note(tmp_path):
    folder = series(tmp_path / "s")
    first = sorted(folder.iterdir())[0]
    shutil.copy(first, folder / "copy.dcm")
    volume = read_volume(folder)
    assert volume.array.shape == (3, 4, SIZE)
    assert "1 of its files were there twice" in volume.notes[0]
    head(3, SOPInstanceUID=str(pydicom.dcmread(first).SOPInstanceUID)).save_as(
        folder / "copy.dcm", enforce_file_format=True
    )
    refused(folder, "has the SOPInstanceUID of .*, but other contents")


def test_a_slice_that_calls_itself_something_else_does_not_go_unseen(tmp_path):
    folder = series(tmp_path / "s", lambda n: {"Modality": "CT" if n < 5 else "CX"})
    refused(folder, "is of a series of images, but no image .Modality 'CX'.")


def test_orientations_that_differ_by_rounding_are_one_stack(tmp_path):
    folder = series(
        tmp_path / "s", lambda n: {"ImageOrientationPatient": [1, 5e-5 * (n % 2), 0, 0, 1, 0]}
    )
    assert read_volume(folder).array.shape == (3, 4, SIZE)


def test_every_second_slice_away_is_noted_where_the_header_tells(tmp_path):
    folder = series(tmp_path / "s", lambda n: {"SpacingBetweenSlices": 2.5}, numbers=(0, 2, 4))
    assert "it may not be complete" in read_volume(folder).notes[0]


def test_enhanced_images_are_what_single_frames_are(tmp_path):
    plain = read_volume(series(tmp_path / "s"))
    places = [(-5, -6, 2.5 * n) for n in range(SIZE)]
    path = enhanced(tmp_path / "e" / "1.dcm", [at(place) for place in places], shared=SHARED)
    volume = read_volume(path.parent)
    assert volume.grid.same_as(plain.grid, 1e-9)
    assert volume.array.dtype == np.int16
    assert (volume.array == plain.array).all()
    backwards = [at(place) for place in places[::-1]]
    turned = read_volume(enhanced(tmp_path / "b" / "1.dcm", backwards, shared=SHARED))
    assert turned.array[0, 0].tolist() == plain.array[0, 0, ::-1].tolist()


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (
            lambda n: {"FrameContentSequence": {"TemporalPositionIndex": 1 + n // 3}},
            r"2 volumes at the same places, which differ in TemporalPositionIndex \(1, 2\)",
        ),
        (
            lambda n: {"FrameContentSequence": {"StackID": str(1 + n // 3)}},
            r"2 volumes at the same places, which differ in StackID \(1, 2\)",
        ),
        (
            lambda n: {"MREchoSequence": {"EffectiveEchoTime": 10.0 * (1 + n // 3)}},
            "differ in EffectiveEchoTime",
        ),
    ],
)
def test_several_volumes_in_an_enhanced_image_are_refused(tmp_path, said, words):
    frames = [at((-5, -6, 2.5 * (n % 3)), **said(n)) for n in range(SIZE)]
    refused(enhanced(tmp_path / "1.dcm", frames, shared=SHARED), words)


def test_enhanced_images_need_the_place_of_each_frame(tmp_path):
    frames = [at((-5, -6, 2.5 * n)) for n in range(3)]
    refused(enhanced(tmp_path / "a" / "1.dcm", frames), "no ImageOrientationPatient")
    path = enhanced(tmp_path / "b" / "1.dcm", frames, shared=SHARED, NumberOfFrames=4)
    refused(path, "says it has 4 frames, but describes 3")
    turned = {"PlaneOrientationSequence": {"ImageOrientationPatient": [1, 0, 0, 0, 0, -1]}}
    frames[2] = at((-5, -6, 5), **turned)
    shared = {name: SHARED[name] for name in SHARED if name != "PlaneOrientationSequence"}
    own = {"PlaneOrientationSequence": SHARED["PlaneOrientationSequence"]}
    mixed = [{**own, **frame} for frame in frames]
    path = enhanced(tmp_path / "c" / "1.dcm", mixed, shared=shared)
    refused(path, r"more than one stack of slices \(2 orientations\)")


def medium(folder):
    """A series in two folders below a DICOMDIR, with an unrelated file that it does not name."""
    series(folder / "A", numbers=range(3), name="{}")
    series(folder / "B", numbers=range(3, SIZE), name="{}")
    series(folder / "A", lambda n: {"SeriesInstanceUID": "1.5"}, numbers=(0,), name="OTHER")
    names = [
        (inner, path.name)
        for inner in ("A", "B")
        for path in sorted((folder / inner).iterdir())
        if path.name != "OTHER"
    ]
    return index(folder, names), names


def test_a_dicomdir_is_read_by_its_records(tmp_path):
    path, _ = medium(tmp_path)
    for way in (path, tmp_path, tmp_path / "B"):
        assert read_volume(way).array.shape == (3, 4, SIZE)
    assert read_volume(tmp_path / "A" / "6").array.shape == (3, 4, SIZE)
    for way in (path, tmp_path):
        found = find(way)
        assert found.layout == "dicom"
        assert [set(source.images) for source in found.sources] == [{"ct"}]
        assert read_volume(found.sources[0].images["ct"]).array.shape == (3, 4, SIZE)


def test_a_dicomdir_finds_lower_case_names_and_names_what_is_missing(tmp_path):
    path, names = medium(tmp_path)
    lower = tmp_path / "b"
    (tmp_path / "B").rename(lower)
    assert read_volume(path).array.shape == (3, 4, SIZE)
    gone = next(name for inner, name in names if inner == "B")
    (lower / gone).unlink()
    message = refused(path, "names 1 files that are missing")
    assert f"B/{gone}" in message
    refused(tmp_path / "A", "names 1 files that are missing")


def test_no_cut_dicomdir_is_accepted(tmp_path):
    path, _ = medium(tmp_path)
    whole = path.read_bytes()
    for cut in range(1, len(whole) - 132, 9):
        path.write_bytes(whole[:-cut])
        with pytest.raises(BadFile):
            read_volume(path)


@pytest.mark.parametrize(
    "parts", [("..", "secret"), ("", "etc", "passwd"), ("A", "..", "..", "x"), ("C:", "x")]
)
def test_a_dicomdir_leads_nowhere_else(tmp_path, parts):
    inner = tmp_path / "medium"
    series(inner / "A", name="{}")
    series(tmp_path, numbers=(0,), name="secret")
    refused(index(inner, [parts]), "names a file outside of its folder")


def test_a_link_out_of_a_dicomdir_is_refused(tmp_path):
    inner = tmp_path / "medium"
    inner.mkdir()
    series(tmp_path / "elsewhere", name="{}")
    try:
        (inner / "A").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    except OSError:
        pytest.skip("links cannot be made here")
    refused(index(inner, [("A", "0")]), "link that leads outside")


@pytest.mark.parametrize("syntax", [IMPLICIT, BIG_ENDIAN])
def test_other_byte_orders_give_the_same_volume(tmp_path, syntax):
    plain = read_volume(series(tmp_path / "s"))
    folder = tmp_path / "o"
    folder.mkdir()
    for number in range(SIZE):
        made = head(number, syntax=syntax)
        if syntax == BIG_ENDIAN:
            made.PixelData = np.frombuffer(made.PixelData, "<i2").astype(">i2").tobytes()
        little, implicit = syntax != BIG_ENDIAN, syntax == IMPLICIT
        pydicom.dcmwrite(
            folder / f"{number}.dcm",
            made,
            little_endian=little,
            implicit_vr=implicit,
            force_encoding=True,
        )
    assert (read_volume(folder).array == plain.array).all()


def packed(folder, syntax, **changes):
    for number in range(SIZE):
        made = head(number, **changes)
        made.compress(syntax)
        folder.mkdir(exist_ok=True)
        made.save_as(folder / f"{number}.dcm", enforce_file_format=True)
    return folder


def test_run_lengths_are_unpacked_and_cuts_in_them_found(tmp_path):
    plain = read_volume(series(tmp_path / "s"))
    folder = packed(tmp_path / "p", RLE)
    assert (read_volume(folder).array == plain.array).all()
    file = sorted(folder.iterdir())[0]
    whole = file.read_bytes()
    for cut in (1, 4, 9, 20):
        file.write_bytes(whole[:-cut])
        with pytest.raises(BadFile):
            read_volume(folder)


def test_a_plug_in_unpacks_jpeg_ls_or_its_name_is_told(tmp_path, monkeypatch):
    pytest.importorskip("jpeg_ls", reason="needs pyjpegls")
    pixels = np.random.default_rng(0).integers(-99, 999, (32, 32)).astype(np.int16)
    large = {"Rows": 32, "Columns": 32, "pixels": pixels}
    plain = read_volume(series(tmp_path / "s", lambda n: large))
    folder = packed(tmp_path / "p", JPEG_LS, **large)
    assert (read_volume(folder).array == plain.array).all()
    decoder = pydicom.pixels.get_decoder(JPEG_LS)
    monkeypatch.setattr(type(decoder), "is_available", property(lambda self: False))
    refused(folder, "needs a plug-in that is not installed; run: pip install pyjpegls")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"Rows": 60000, "Columns": 60000}, "is to hold 7200000000 bytes of pixels"),
        ({"BitsAllocated": 64}, "pixels of 64 bits"),
        ({"BitsStored": 3, "HighBit": 2}, "more than the 3 bits"),
        ({"BitsStored": 12, "HighBit": 15}, "makes no sense"),
        ({"SamplesPerPixel": 3}, "no grey image"),
        ({"PixelSpacing": [0, 1]}, "makes no sense"),
        ({"ImagePositionPatient": [1, 2]}, "makes no sense"),
        ({"LossyImageCompression": "01"}, ""),
    ],
)
def test_headers_of_nonsense_are_refused(tmp_path, changes, words):
    small = np.full((4, 3), 500, np.int16)
    folder = series(tmp_path / "s", lambda n: {"pixels": small})
    files = sorted(folder.iterdir())
    for file in files:
        made = pydicom.dcmread(file)
        for name, value in changes.items():
            setattr(made, name, value)
        made.save_as(file, enforce_file_format=True)
    if words:
        refused(folder, words)
    else:
        assert read_volume(folder).notes == ("its pixels were compressed with loss",)


def test_a_small_compressed_file_cannot_fill_the_memory(tmp_path):
    folder = packed(tmp_path / "p", RLE)
    for file in folder.iterdir():
        made = pydicom.dcmread(file)
        made.Rows = made.Columns = 65000
        made.save_as(file, enforce_file_format=True)
    refused(folder, "would unpack to 8450000000 bytes")


def test_any_cut_file_is_refused(tmp_path):
    folder = series(tmp_path / "s", lambda n: {"RescaleType": "HU"}, numbers=range(2))
    file = sorted(folder.iterdir())[1]
    whole = file.read_bytes()
    for cut in range(1, len(whole) - 132, 7):
        file.write_bytes(whole[:-cut])
        with pytest.raises(BadFile):
            read_volume(folder)


def test_mangled_files_end_in_a_sentence(tmp_path):
    folder = series(tmp_path / "s", numbers=range(2))
    file = sorted(folder.iterdir())[0]
    whole = bytearray(file.read_bytes())
    generator = np.random.default_rng(5)
    outcomes = set()
    for _ in range(300):
        mangled = bytearray(whole)
        for place in generator.integers(132, len(whole), 3):
            mangled[place] = generator.integers(256)
        file.write_bytes(mangled)
        try:
            outcomes.add(read_volume(folder).array.shape)
        except BadFile as error:
            outcomes.add("refused" if "\n" not in str(error) else str(error))
    assert "refused" in outcomes
    assert outcomes <= {"refused", (3, 4, 2)}
