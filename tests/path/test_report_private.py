"""Reports under pseudonyms: nothing of the input that tells the patient is in any byte written."""

import csv
import io
import json
import re
import shutil
import subprocess
import sys
import zlib

import numpy as np
import pytest
from scipy import ndimage

from oncoseg import Grid, Prediction, Task, results
from oncoseg.errors import BadRun, OncosegError
from oncoseg.read import read_volume
from oncoseg.report import report
from oncoseg.report.plates import SURFACES
from oncoseg.report.private import REMOVED, Veil
from oncoseg.response import Earlier
from oncoseg.write import Pseudonyms, write_volume
from schemas import SCHEMA, faults

SHAPE = (20, 22, 10)
TASK = Task("toy", ("t1", "flair"), {"rim": 1, "core": 2}, {"WT": ("rim", "core"), "TC": ("core",)})
UID = "1.2.826.0.1.3680043.8.498.4711"
# Every one of these is somewhere in the input, and in a sentence of its notes.
NAME = "Quetzal^Xanthippe"
CANARIES = ["Quetzal", "Xanthippe", "MRN0815", "ward-9b", "20110607", "07.06.2011", "2011-06-07"]
CANARIES += [UID, "Li_Wu", "case-zebra"]


def predict(folder, case):
    label = np.zeros(SHAPE, np.uint8)
    label[4:12, 8:16, 3:8] = 1
    label[6:9, 10:14, 4:7] = 2
    image = np.random.default_rng(0).random(SHAPE).astype(np.float32) + label
    images = {}
    for name in TASK.modalities:
        place = folder / "ward-9b" / "Quetzal, Xanthippe" / "20110607" / "Li_Wu"
        images[name] = place / f"{case}_MRN0815_{name}.nii.gz"
        write_volume(images[name], image, Grid(SHAPE, np.eye(4)))
    none = np.stack([label > 0, label > 1]).astype(np.float16)
    told = f"{images['t1']}: has no orientation; read {' and '.join(CANARIES)} as stored."
    loose = "The scan of quetzal (mrn0815) of case zebra lies 12.5 mm aside."
    made = Prediction(case, TASK, Grid(SHAPE, np.eye(4)), label, none, TASK.modalities)
    return made.but(
        images=images,
        notes=(told, loose),
        model={"name": "toy", "version": "1.2", "training_data": "/data/Quetzal"},
        inputs={"t1": {"study": UID, "series": UID, "instances": [UID], "sha256": "ab" * 32}},
    )


def unpacked(path):
    """A file's bytes, and of a PDF those of each of its streams."""
    content = path.read_bytes()
    yield content
    for found in re.finditer(rb"stream\r?\n(.*?)\r?\nendstream", content, re.DOTALL):
        try:
            yield zlib.decompress(found[1])
        except zlib.error:
            yield found[1]


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Three cases of two patients, one of them broken, reported under a key."""
    folder = tmp_path_factory.mktemp("private")
    for case in ("case-zebra_1", "case-zebra_2", "case-zebra_3"):
        results.save(predict(folder, case), folder / "out")
    (folder / "out" / "case-zebra_3.nii.gz").write_bytes(b"cut")
    visits = "case,patient,date\ncase-zebra_1,MRN0815,2011-06-07\ncase-zebra_2,MRN0815,2011-08-07\n"
    (folder / "visits.csv").write_text(visits, encoding="utf-8")
    words = ["report", folder / "out", "--to", folder / "handover", "--pseudonymise"]
    words += [folder / "key.txt", "--visits", folder / "visits.csv", "--as", "html,csv"]
    command = [sys.executable, "-m", "oncoseg", *map(str, words)]
    done = subprocess.run(command, capture_output=True, check=False)
    assert b"1 of 3 not reported" in done.stderr, done.stderr.decode()
    return folder


def test_the_canaries_are_in_what_is_reported_without_a_key(world, tmp_path):
    report(world / "out", to=tmp_path, cases=["case-zebra_1"])
    text = (tmp_path / "case-zebra_1.html").read_text(encoding="utf-8")
    assert [word for word in CANARIES if word in text] == CANARIES
    assert SURFACES in text


def test_nothing_that_is_written_tells_the_patient(world):
    files = sorted((world / "handover").iterdir())
    assert [path.suffix for path in files].count(".html") == 3
    assert {path.name for path in files} >= {"cohort.csv", "index.html"}
    for path in files:
        for content in [path.name.encode(), *unpacked(path)]:
            plain = re.sub(rb"data:image/\w+;base64,[\w+/=]+", b"", content).lower()
            for word in [*CANARIES, "zebra", "2011", str(world)]:
                assert word.lower().encode() not in plain, f"{word} in {path.name}"


def patient(folder, number):
    """A DICOM series that names its patient everywhere, and a prediction of it."""
    pydicom = pytest.importorskip("pydicom")
    pytest.importorskip("highdicom")
    from dicoms import series

    noise = ndimage.gaussian_filter(np.random.default_rng(0).normal(size=(12, 22, 20)), 2)
    place = folder / "Quetzal_Xanthippe" / f"study {number}"
    said = {"Rows": 22, "Columns": 20, "SliceThickness": 3, "FrameOfReferenceUID": f"{UID}.9"}
    said |= {"StudyInstanceUID": f"{UID}.{number}", "SeriesInstanceUID": f"{UID}.{number}.1"}

    def slices(at):
        pixels = (5000 * noise[at]).astype(np.int16)
        return said | {"ImagePositionPatient": [0, 0, 3.0 * at], "pixels": pixels}

    scan = series(place, slices, range(12))
    for path in scan.iterdir():
        head = pydicom.dcmread(path)
        head.PatientName, head.PatientID, head.PatientBirthDate = NAME, "MRN0815", "19420304"
        head.StudyDate = head.SeriesDate = head.AcquisitionDate = f"201106{number:02d}"
        head.AccessionNumber, head.ReferringPhysicianName = "ACC-77-zebra", "Li_Wu^Doctor"
        head.StudyDescription = head.InstitutionName = "ward-9b"
        head.save_as(path)
    grid = read_volume(scan).grid
    label = np.zeros(grid.shape, np.uint8)
    label[4:12, 8:16, 1:5] = 1
    task = Task("toy", ("ct",), {"tumour": 1}, {"tumour": ("tumour",)})
    none = np.zeros((1, *grid.shape), np.float16)
    notes = (f"{scan}: series of {NAME}, MRN0815, ACC-77-zebra, on 20110{600 + number}.",)
    case = Prediction(f"zebra-{number}", task, grid, label, none, ("ct",), images={"ct": scan})
    return case.but(notes=notes, model={"name": "toy", "version": "1"})


def told_by(path):
    """What a reader of a PDF sees, and what it says of itself."""
    for tool in ("pdftotext", "pdfinfo"):
        more = ["-"] if tool == "pdftotext" else []
        yield subprocess.run([tool, path, *more], capture_output=True, check=True).stdout


def test_nor_do_pdf_key_images_and_parquet_of_dicom(tmp_path):
    pytest.importorskip("weasyprint")
    parquet = pytest.importorskip("pyarrow.parquet")
    for number in (1, 7):
        results.save(patient(tmp_path, number), tmp_path / "out")
    results.save(patient(tmp_path, 7).but(case="zebra-1"), tmp_path / "prior")
    results.save(patient(tmp_path, 1).but(case="zebra-7"), tmp_path / "prior")
    kinds = ["html", "pdf", "key-images", "parquet"]
    to, key = tmp_path / "to", tmp_path / "key"
    report(tmp_path / "out", to=to, kinds=kinds, key=key)
    earlier = Earlier(priors=(tmp_path / "prior",), rule="recist")
    with pytest.raises(OncosegError, match="1 of 2 not"):  # the prior of one is later
        report(tmp_path / "out", to=tmp_path / "two", kinds=kinds, key=key, earlier=earlier)
    (compared,) = (tmp_path / "two").glob("*.report.json")
    plain = json.loads(compared.read_bytes())
    assert {"change", "response"} <= plain["findings"].keys()
    assert list(faults(plain, SCHEMA)) == []
    files = [path for place in (to, tmp_path / "two") for path in sorted(place.iterdir())]
    assert {path.suffix for path in files} == {".html", ".pdf", ".dcm", ".parquet", ".json", ".csv"}
    words = [NAME, "Quetzal", "Xanthippe", "MRN0815", "ACC-77", "Li_Wu", "ward-9b", "zebra", UID]
    words += ["19420304", "201106", "2011-06", str(tmp_path)]
    for path in files:
        contents = [path.name.encode(), *unpacked(path)]
        if path.suffix == ".parquet":
            contents.append(str(parquet.read_table(path).to_pylist()).encode())
        if path.suffix == ".pdf" and shutil.which("pdftotext"):
            contents += told_by(path)
            assert b"Research use only" in b" ".join(b" ".join(contents).split())
        for content in contents:
            plain = re.sub(rb"data:image/\w+;base64,[\w+/=]+", b"", content).lower()
            for word in words:
                assert word.lower().encode() not in plain, f"{word} in {path.name}"


def test_what_is_not_of_the_patient_stays(world):
    path = next((world / "handover").glob("*.report.json"))
    plain = json.loads(path.read_text(encoding="utf-8"))
    assert path.name == f"{plain['case']}.report.json"
    assert plain["pseudonymised"] is True
    assert plain["model"]["version"] == "1.2"
    assert plain["used"] == ["t1", "flair"]
    assert (
        f"The scan of {REMOVED} ({REMOVED}) of case {REMOVED} lies 12.5 mm aside." in plain["notes"]
    )
    assert any(note.startswith("Pseudonymised: ") for note in plain["notes"])
    assert plain["findings"]["volumes"]["rows"][0]["value"] == pytest.approx(8 * 8 * 5 / 1000)
    page = path.with_name(f"{plain['case']}.html").read_text(encoding="utf-8")
    assert "<svg" in page
    assert SURFACES not in page


def test_visits_of_one_patient_stay_together(world):
    text = (world / "handover" / "cohort.csv").read_text(encoding="utf-8")
    rows = list(csv.DictReader(io.StringIO(text)))
    by = {row["visit"]: row for row in rows}
    assert sorted(by) == ["", "day 0", "day 61"]
    assert by["day 0"]["patient"] == by["day 61"]["patient"] != by[""]["patient"]
    assert by[""]["state"] == "failed"
    assert [row["case"] for row in rows] == sorted(row["case"] for row in rows)
    assert "The command said why" in by[""]["reason"]


def test_words_of_the_task_are_not_taken_for_names(tmp_path):
    made = predict(tmp_path, "core_t1").but(notes=())
    veil = Veil.over(made, tmp_path / "core_t1.json", Pseudonyms(b"0" * 32))
    assert veil.text("The core in t1 is 12 mm wide.") == "The core in t1 is 12 mm wide."
    short = Veil.over(made.but(case="12"), tmp_path / "12.json", Pseudonyms(b"0" * 32))
    assert short.text("Case 12 is 12.5 mm and 120 px.") == f"Case {REMOVED} is 12.5 mm and 120 px."


def test_pseudonyms_do_not_go_where_the_names_are(world, tmp_path):
    with pytest.raises(BadRun, match="--to"):
        report(world / "out", key=tmp_path / "key")
    report(world / "out", to=tmp_path / "pages", cases=["case-zebra_1"])
    with pytest.raises(BadRun, match="--to"):
        report(world / "out", to=tmp_path / "pages", key=tmp_path / "key")
    assert not (tmp_path / "key").exists()


def test_the_same_key_gives_the_same_names(world, tmp_path):
    for name in ("a", "b"):
        key = world / "key.txt" if name == "a" else tmp_path / "other"
        report(world / "out", to=tmp_path / name, cases=["case-zebra_1"], key=key)
    (one,), (two,) = (list((tmp_path / name).glob("*.html")) for name in ("a", "b"))
    assert one.name != two.name
    assert (world / "handover" / one.name).exists()
