"""What leaves: tags of a list alone, and under pseudonyms nothing that tells the patient."""

import gzip
import json
import re
import shutil
import subprocess
import sys
import zipfile

import numpy as np
import pytest

from oncoseg import results
from oncoseg.case import Prediction, Task
from oncoseg.errors import BadFile, BadRun
from oncoseg.read import read_volume
from oncoseg.report import report
from oncoseg.write import KINDS, Pseudonyms, write_prediction

pydicom = pytest.importorskip("pydicom", reason="needs the extra 'dicom'")
pytest.importorskip("highdicom", reason="needs the extra 'dicom'")
pytestmark = pytest.mark.filterwarnings("ignore:.*:UserWarning:pydicom")
from dicoms import series  # noqa: E402 - needs pydicom

SHAPE = (12, 10, 4)
TASK = Task("liver", ("ct",), {"tumour": 1}, {"tumour": ("tumour",)})
LEAK, COPIED = "LEAKED", "COPIED"
TEXTS = {"AE", "CS", "LO", "LT", "PN", "SH", "ST", "UC", "UR", "UT"}
# Without these as they should be, a reader refuses the series.
NEEDED = ("RescaleType", "Modality", "PhotometricInterpretation", "SpecificCharacterSet")
NEEDED += ("PatientSex", "ImageType")
# May be copied, so they carry another marker; dates and UIDs have no room for words.
LISTED = ("PatientName", "PatientID", "IssuerOfPatientID", "StudyID", "StudyDescription")
LISTED += ("AccessionNumber", "ReferringPhysicianName", "PositionReferenceIndicator")
BIRTH, STUDY_DATE = "19420304", "20110607"
UIDS = ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID", "SOPInstanceUID")


def planted(head):
    """Markers in every tag of text that there is, also in sequences and private ones."""
    for tag, (kind, many, _, _, word) in pydicom.datadict.DicomDictionary.items():
        if kind in TEXTS and tag >> 16 > 2 and word not in ("", *LISTED, *NEEDED) and "1" in many:
            setattr(head, word, f"{LEAK} {tag:08X}"[:16])
    inner = pydicom.Dataset()
    inner.PatientName = inner.CodeMeaning = inner.PersonName = LEAK
    for word in ("OtherPatientIDsSequence", "RequestAttributesSequence", "ReferencedStudySequence"):
        setattr(head, word, [inner])
    head.ReferencedPatientSequence = [inner]
    block = head.private_block(0x0011, f"{LEAK} CREATOR", create=True)
    block.add_new(0x01, "LO", LEAK)
    block.add_new(0x02, "SQ", [inner])
    for word in LISTED:
        setattr(head, word, f"{COPIED} {word}"[:16])
    head.PatientBirthDate, head.StudyDate, head.StudyTime = BIRTH, STUDY_DATE, "121314"
    head.PatientSex = "F"
    return head


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A series full of markers, a prediction of it in `out/`, and the UIDs of the series."""
    folder = tmp_path_factory.mktemp("private")
    pixels = np.arange(SHAPE[0] * SHAPE[1], dtype=np.int16).reshape(SHAPE[1], SHAPE[0])

    def said(number):
        base = "1.2.826.0.1.3680043.8.498.77"
        place = {"ImagePositionPatient": [0, 0, 3.0 * number], "SliceThickness": 3}
        uids = {name: f"{base}.{index}" for index, name in enumerate(UIDS[:3])}
        return {"Rows": SHAPE[1], "Columns": SHAPE[0], "pixels": pixels, **place, **uids}

    scan = series(folder / "scan", said, numbers=range(SHAPE[2]))
    uids = set()
    for path in scan.iterdir():
        head = planted(pydicom.dcmread(path))
        uids |= {str(head[name].value) for name in UIDS}
        head.save_as(path)
    label = np.zeros(SHAPE, np.uint8)
    label[2:9, 2:8, 1:3] = 1
    none = np.zeros((1, *SHAPE), np.float16)
    grid = read_volume(scan).grid
    made = Prediction("secret case", TASK, grid, label, none, ("ct",), images={"ct": scan})
    results.save(made.but(model={"name": "toy", "version": "1"}), folder / "out", kinds=KINDS)
    return folder, made, uids


def contents(folder):
    """Every byte that was written, unpacked where it is packed, and every name."""
    for path in sorted(folder.rglob("*")):
        yield str(path.relative_to(folder)).encode(), path
        if path.is_file():
            content = path.read_bytes()
            yield content, path
            if path.suffix == ".gz":
                yield gzip.decompress(content), path
            assert not zipfile.is_zipfile(path)


def run(*words):
    """The command in a process of its own: what it says to both streams."""
    command = [sys.executable, "-m", "oncoseg", *map(str, words)]
    done = subprocess.run(command, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout + done.stderr


def test_the_markers_are_there_to_be_found(world):
    folder, *_ = world
    head = next((folder / "scan").iterdir()).read_bytes()
    assert head.count(LEAK.encode()) > 500
    assert COPIED.encode() in head


def test_nothing_leaves_but_what_is_listed(world):
    folder, *_ = world
    report(folder / "out")
    kinds = {path.suffix for _, path in contents(folder / "out")}
    assert kinds >= {".dcm", ".json", ".html", ".gz", ".tsv"}
    for content, path in contents(folder / "out"):
        assert LEAK.encode() not in content, path.name
        if path.suffix != ".dcm":
            assert COPIED.encode() not in content, path.name
            assert BIRTH.encode() not in content


def test_what_is_listed_is_copied_to_its_own_tag_and_no_other(world):
    folder, *_ = world
    for path in (folder / "out").glob("*.dcm"):
        for element in pydicom.dcmread(path).iterall():
            if COPIED in str(element.value) and element.VR != "SQ":
                assert element.keyword in LISTED
                assert element.value == f"{COPIED} {element.keyword}"[:16]
            assert not element.tag.is_private


def test_the_command_says_nothing_of_the_patient(world, tmp_path):
    folder, *_ = world
    told = run("write", folder / "out", "--as", ",".join(KINDS), "--to", tmp_path / "again")
    assert b".sr.dcm" in told
    for marker in (LEAK, COPIED, BIRTH):
        assert marker.encode() not in told


def test_under_pseudonyms_nothing_at_all_tells_the_patient(world, tmp_path):
    folder, _, uids = world
    to, key = tmp_path / "handover", tmp_path / "key.txt"
    words = ("--as", ",".join(KINDS), "--to", to, "--pseudonymise", key)
    told = run("write", folder / "out", *words)
    hidden = [LEAK, COPIED, BIRTH, STUDY_DATE, "121314", "secret case", "secretcase", *uids]
    hidden += [str(folder)]
    for content, path in [*contents(to), (told, key)]:
        kept = re.sub(rb"2\.25\.\d+", b"", content)  # new UIDs have digits as they come
        for word in hidden:
            assert word.encode() not in kept, f"{word} in {path.name}"
    made = {path.name.split(".")[-2]: pydicom.dcmread(path) for path in to.glob("*.dcm")}
    assert sorted(made) == ["labelmap", "lesions", "rtstruct", "seg", "sr"]
    first = made["seg"]
    assert first.PatientName == first.PatientID
    assert first.PatientIdentityRemoved == "YES"
    for one in made.values():
        assert one.PatientID == first.PatientID
        assert one.StudyInstanceUID == first.StudyInstanceUID
        assert (one.PatientBirthDate, one.StudyDate, one.PatientSex) == ("", "", "")
        assert pydicom.uid.UID(one.StudyInstanceUID).is_valid
    if shutil.which("dciodvfy"):
        for path in to.glob("*.dcm"):
            done = subprocess.run(["dciodvfy", "-new", path], capture_output=True, check=False)
            assert b"Error" not in done.stderr or path.name.endswith("labelmap.dcm")
    side = next(to.rglob("*_dseg.json"))
    said = json.loads(side.read_text(encoding="utf-8"))["Inputs"]["ct"]
    assert said["study"] == first.StudyInstanceUID
    assert said["frame_of_reference"] == first.FrameOfReferenceUID
    assert said["series"] == first.ReferencedSeriesSequence[0].SeriesInstanceUID
    named = first.ReferencedSeriesSequence[0].ReferencedInstanceSequence
    assert {one.ReferencedSOPInstanceUID for one in named} == set(said["instances"])


def test_pseudonyms_are_the_same_under_one_key_and_others_under_another(world, tmp_path):
    _, made, _ = world
    keys = [Pseudonyms.of(tmp_path / name) for name in ("a", "b", "a")]
    files = [
        [path.name for path in write_prediction(made, tmp_path / "x", ["seg"], pseudonyms=key)]
        for key in keys
    ]
    assert files[0] == files[2] != files[1]
    assert [key.uid("1.2.3") for key in keys][0::2] == [keys[0].uid("1.2.3")] * 2
    assert keys[0].uid("1.2.3") != keys[1].uid("1.2.3") != keys[1].uid("1.2.4")
    assert pydicom.uid.UID(keys[0].uid("1.2.3")).is_valid
    assert keys[0].uid("") == ""


def test_a_key_is_whole_or_refused_and_never_shown(tmp_path):
    key = Pseudonyms.of(tmp_path / "key")
    assert key.key.hex() in (tmp_path / "key").read_text(encoding="ascii")
    assert key.key.hex() not in repr(key)
    if sys.platform != "win32":
        assert (tmp_path / "key").stat().st_mode & 0o077 == 0
    for words in ("", "ab" * 31, "my notes"):
        (tmp_path / "other").write_text(words, encoding="ascii")
        with pytest.raises(BadFile, match="key for pseudonyms"):
            Pseudonyms.of(tmp_path / "other")


def test_pseudonyms_do_not_go_where_the_names_are(world, tmp_path):
    folder, *_ = world
    with pytest.raises(BadRun, match="--to"):
        results.deliver(folder / "out", ["seg"], key=tmp_path / "key")
    assert not (tmp_path / "key").exists()
