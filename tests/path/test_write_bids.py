"""BIDS derivatives: names, tables and sidecars as the standard has them; one way to each result."""

import json
import shutil
import subprocess
from types import SimpleNamespace

import nibabel
import numpy as np
import pytest

from grids import oriented
from oncoseg import results
from oncoseg.__main__ import call
from oncoseg.case import Prediction, Task
from oncoseg.errors import BadData, BadFile, UnknownName
from oncoseg.files import sha256
from oncoseg.predict import predict
from oncoseg.prepare.plan import Normalisation, Plan
from oncoseg.read import read_volume
from oncoseg.report import report
from oncoseg.write import Pseudonyms, write_prediction, write_volume

TASK = Task("BraTS glioma", ("t1",), {"NCR": 1, "ED": 2, "ET": 4}, {"WT": ("NCR", "ED", "ET")})
GRID = oriented((6, 7, 8), (1.0, 1.5, 3.0), (2, 0, 1), (1, -1, -1), tilt=0.2)
RAW = {"Name": "scans", "BIDSVersion": "1.10.0", "DatasetType": "raw"}


def predicted(tmp_path, path="scans/case_1/t1.nii.gz", case="case_1"):
    label = np.random.default_rng(0).choice([0, 1, 2, 4], GRID.shape).astype(np.uint8)
    image = write_volume(tmp_path / path, label.astype(np.float32), GRID)
    none = np.zeros((1, *GRID.shape), np.float16)
    model = {"name": "toy", "version": "1", "sha256": "ab", "licence": "CC-BY-4.0"}
    return Prediction(case, TASK, GRID, label, none, ("t1",), images={"t1": image}, model=model)


def test_names_labels_and_sidecar(tmp_path):
    made = predicted(tmp_path)
    paths = write_prediction(made, tmp_path / "out", ["bids"])
    home = tmp_path / "out" / "derivatives" / "oncoseg"
    stem = "sub-case1/anat/sub-case1_space-orig_seg-BraTSglioma_dseg"
    assert {path.relative_to(home).as_posix() for path in paths} == {
        *("dataset_description.json", "README"),
        *(f"{stem}.{ending}" for ending in ("nii.gz", "tsv", "json")),
    }
    back = read_volume(home / f"{stem}.nii.gz")
    assert (back.array == made.label).all()
    assert back.grid.same_as(GRID, 1e-4)
    table = (home / f"{stem}.tsv").read_text(encoding="utf-8")
    assert table == "index\tname\n1\tNCR\n2\tED\n4\tET\n"
    side = json.loads((home / f"{stem}.json").read_text(encoding="utf-8"))
    assert side["Model"] == {"name": "toy", "version": "1", "sha256": "ab", "licence": "CC-BY-4.0"}
    assert side["Inputs"] == {"t1": {"sha256": sha256(made.images["t1"])}}
    assert "Sources" not in side
    said = json.loads((home / "dataset_description.json").read_text(encoding="utf-8"))
    assert said["DatasetType"] == "derivative"
    assert said["GeneratedBy"][0]["Name"] == "oncoseg"
    assert not nibabel.load(home / f"{stem}.nii.gz").header["descrip"].tobytes().strip(b"\0")


def test_subject_session_and_sources_are_those_of_the_bids_files_read(tmp_path):
    made = predicted(tmp_path, "raw/sub-07/ses-a/anat/sub-07_ses-a_T1w.nii.gz", "sub-07_ses-a")
    (tmp_path / "raw" / "dataset_description.json").write_text(json.dumps(RAW), encoding="utf-8")
    *_, side = write_prediction(made, tmp_path / "raw", ["bids"])
    home = tmp_path / "raw" / "derivatives" / "oncoseg"
    name = "sub-07/ses-a/anat/sub-07_ses-a_space-orig_seg-BraTSglioma_dseg.json"
    assert side == home / name
    (source,) = json.loads(side.read_text(encoding="utf-8"))["Sources"]
    assert (home / source).resolve() == made.images["t1"].resolve()


def test_two_cases_never_share_a_name(tmp_path):
    write_prediction(predicted(tmp_path, case="a_1"), tmp_path / "out", ["bids"])
    write_prediction(predicted(tmp_path, case="a_1"), tmp_path / "out", ["bids"])
    with pytest.raises(BadData, match="is that of another case already"):
        write_prediction(predicted(tmp_path, case="a1"), tmp_path / "out", ["bids"])
    with pytest.raises(BadData, match="no letter or digit"):
        write_prediction(predicted(tmp_path, case="---"), tmp_path / "out", ["bids"])


def test_under_pseudonyms_neither_name_nor_checksum_nor_source_stays(tmp_path):
    made = predicted(tmp_path, "raw/sub-07/ses-a/anat/sub-07_ses-a_T1w.nii.gz", "sub-07_ses-a")
    (tmp_path / "raw" / "dataset_description.json").write_text(json.dumps(RAW), encoding="utf-8")
    key = Pseudonyms.of(tmp_path / "key")
    for path in write_prediction(made, tmp_path / "out", ["bids"], pseudonyms=key):
        told = path.relative_to(tmp_path / "out").as_posix().encode() + path.read_bytes()
        for word in ("sub-07", "ses-a", "raw", sha256(made.images["t1"])):
            assert word.encode() not in told


@pytest.mark.skipif(not shutil.which("bids-validator-deno"), reason="needs bids-validator-deno")
def test_the_validator_has_no_error(tmp_path):
    write_prediction(predicted(tmp_path), tmp_path, ["bids"])
    home = tmp_path / "derivatives" / "oncoseg"
    done = subprocess.run(
        ["bids-validator-deno", "--json", home], capture_output=True, text=True, check=False
    )
    found = json.loads(done.stdout)["issues"]["issues"]
    assert [one for one in found if one["severity"] == "error"] == []


def test_records_identify_inputs_by_checksum(tmp_path):
    made = predicted(tmp_path)
    record = json.loads(results.save(made, tmp_path / "out").read_text(encoding="utf-8"))
    assert record["inputs"] == {"t1": {"sha256": sha256(made.images["t1"])}}
    loaded, _ = results.load(tmp_path / "out" / "case_1.json")
    assert loaded.inputs == record["inputs"]
    report(tmp_path / "out")
    told = json.loads((tmp_path / "out" / "case_1.report.json").read_text(encoding="utf-8"))
    assert told["provenance"]["Input t1 SHA-256"] == sha256(made.images["t1"])
    (tmp_path / "out" / "case_1.json").write_text(json.dumps({**record, "inputs": {"t1": 3}}))
    with pytest.raises(BadFile, match="not a whole record"):
        results.load(tmp_path / "out" / "case_1.json")


@pytest.fixture
def model(monkeypatch):
    """A 'model' that calls whatever is bright a tumour."""
    task = Task("t", ("t1",), {"x": 1}, {"x": ("x",)}, (1.0, 1.0, 2.5), (8, 8, 8), ((2, 2, 2),))

    def bright(image, present):
        score = image[:, :1] - 0.5
        return np.concatenate([-score, score], axis=1)

    opened = SimpleNamespace(
        card={},
        task=task,
        plan=Plan(task, {"t1": Normalisation()}),
        maps=(),
        posthoc={},
        unlikeness=lambda scan: {},
    )
    opened.described = {"name": "bright", "version": "3", "sha256": "cd"}
    monkeypatch.setattr("oncoseg.predict.open_model", lambda name: opened)
    monkeypatch.setattr("oncoseg.predict.make_engine", lambda *words: bright)


def test_predicting_as_and_writing_later_give_the_same(tmp_path, model, capsys):
    pydicom = pytest.importorskip("pydicom", reason="needs the extra 'dicom'")
    pytest.importorskip("highdicom", reason="needs the extra 'dicom'")
    from dicoms import series

    pixels = (10 + np.arange(168).reshape(12, 14) % 5).astype(np.int16)
    pixels[3:9, 4:11] = 100
    more = {"StudyInstanceUID": "1.2.3.4", "PatientID": "7", "Modality": "MR", "Columns": 14}
    more |= {"pixels": pixels, "Rows": 12, "PixelSpacing": [1, 1], "RescaleIntercept": 0}
    series(tmp_path / "scans" / "p1" / "t1", lambda n: {**more, "SliceThickness": 2.5})
    out = tmp_path / "out"
    words = ["predict", "model", str(tmp_path / "scans"), "--to", str(out), "--as", "seg,bids"]
    assert call(words) == 0, capsys.readouterr().err
    assert call(["write", str(out), "--as", "seg,rtstruct", "--to", str(tmp_path / "late")]) == 0
    first, second = (pydicom.dcmread(at / "p1.seg.dcm") for at in (out, tmp_path / "late"))
    assert first.PixelData == second.PixelData
    assert first.pixel_array.sum() == 6 * 7 * 6
    assert first.ManufacturerModelName == "bright 3"
    assert (tmp_path / "late" / "p1.rtstruct.dcm").exists()
    assert (out / "derivatives" / "oncoseg" / "dataset_description.json").exists()


def test_a_case_that_cannot_be_written_so_is_refused_before_the_work(tmp_path, model):
    pytest.importorskip("highdicom", reason="needs the extra 'dicom'")
    write_volume(tmp_path / "scans" / "p2" / "t1.nii.gz", np.indices(GRID.shape).sum(0), GRID)
    with pytest.raises(UnknownName, match="no kind of result 'dicom'"):
        predict("m", tmp_path / "scans", to=tmp_path / "out", kinds=["dicom"])
    outcome = predict("m", tmp_path / "scans", to=tmp_path / "out", kinds=["sr"])
    assert outcome.done == []
    assert "refer to the slices of a DICOM series" in outcome.failed["p2"]
    assert not (tmp_path / "out").exists()
