"""Bad files: each is refused in a sentence, or read exactly; a batch goes on without them."""

import os
import re
import sys
from dataclasses import replace

import numpy as np
import pytest

from badinputs.faults import FILES, NIFTI, OTHERS
from badinputs.files import AFFINE, ARRAY, nii
from oncoseg import results
from oncoseg.__main__ import call
from oncoseg.case import Source, Task
from oncoseg.errors import OncosegError
from oncoseg.prepare.plan import Normalisation, Plan
from oncoseg.read import read_case, read_volume

TASK = Task("t", ("t1",), {"x": 1}, {"x": ("x",)}, (1.0, 1.5, 2.0), (8,) * 3, ((2, 2, 2),))


def sentence(error, path):
    """What the error says, which is one line that names the file and what to do."""
    message = str(error)
    assert str(path) in message
    assert "\n" not in message
    assert ";" in message
    return message


@pytest.mark.parametrize("fault", FILES, ids=lambda fault: fault.name)
def test_it_is_refused_in_a_sentence_or_read_exactly(fault, tmp_path):
    path = fault.make(tmp_path / "case")
    source = Source("case", "case", {"t1": path})
    if fault.refused:
        with pytest.raises(OncosegError) as caught:
            read_case(source)
        assert re.search(fault.refused, sentence(caught.value, path))
        return
    case = read_case(source)
    volume, (array, affine) = case.images["t1"], fault.truth
    assert volume.array.dtype.kind == array.dtype.kind
    assert np.array_equal(volume.array, array)
    assert np.allclose(volume.grid.affine, affine, atol=1e-5)
    assert (read_volume(path).array == array).all()
    assert any(fault.note in note for note in case.notes) if fault.note else not case.notes


def test_good_files_are_read(tmp_path):
    assert (read_volume(nii(tmp_path)).array == ARRAY).all()
    assert (read_volume(nii(tmp_path)).grid.affine == AFFINE).all()


@pytest.fixture
def model(monkeypatch):
    """A model that needs no training, in place of one on disk."""

    class Opened:
        plan = Plan(TASK, {"t1": Normalisation()})
        task = TASK
        card = {}
        described = {"name": "stand-in", "sha256": "0"}
        maps = ()
        posthoc = {}
        unlikeness = staticmethod(lambda scan: {})

    def infer(image, present):
        return np.concatenate([-image[:, :1], image[:, :1]], axis=1)

    monkeypatch.setattr("oncoseg.predict.open_model", lambda model: Opened)
    monkeypatch.setattr("oncoseg.predict.make_engine", lambda *options: infer)


def test_a_batch_of_all_of_them_goes_on(model, tmp_path, capsys):
    """The command line: every good case is predicted, every bad one named, nothing half-written."""
    faults = {fault.name: fault for fault in (*NIFTI, *OTHERS)}
    for name in ("0-good", "zz good é 🧠"):
        nii(tmp_path / "scans" / name)
    for name, fault in faults.items():
        fault.make(tmp_path / "scans" / name)
    code = call(["predict", "model", str(tmp_path / "scans"), "--to", str(tmp_path / "out")])
    said = capsys.readouterr()
    assert code == 1
    assert "Traceback" not in said.err
    refused = {name for name, fault in faults.items() if fault.refused}
    failed = re.findall(r"^oncoseg: case (.+?) failed: (.*)$", said.err, re.MULTILINE)
    assert {name for name, _ in failed} == refused
    for name, cause in failed:
        assert re.search(faults[name].refused, cause), (name, cause)
    good = {"0-good", "zz good é 🧠", *(faults.keys() - refused)}
    done = results.find(tmp_path / "out")
    assert set(done) == good
    assert not [path for path in (tmp_path / "out").iterdir() if path.name.startswith(".")]
    assert {path.name.split(".")[0] for path in (tmp_path / "out").iterdir()} == good
    for name in good:
        prediction, _ = results.load(done[name])
        notes = " ".join(prediction.notes)
        assert name not in faults or faults[name].note in notes
        array, affine = faults[name].truth if name in faults else (ARRAY, AFFINE)
        assert prediction.label.shape == array.shape
        assert np.allclose(prediction.grid.affine, affine, atol=1e-4)


@pytest.mark.skipif(os.name == "nt" or sys.platform == "darwin", reason="names are text there")
def test_a_name_that_is_no_text_is_one_failure_of_the_batch(model, tmp_path, capsys):
    nii(tmp_path / "scans" / "good")
    nii(tmp_path / "scans" / os.fsdecode(b"bad-\xff"))
    code = call(["predict", "model", str(tmp_path / "scans"), "--to", str(tmp_path / "out")])
    assert code == 1
    assert "name that is no valid text" in capsys.readouterr().err
    assert set(results.find(tmp_path / "out")) == {"good"}
    assert {path.name.split(".")[0] for path in (tmp_path / "out").iterdir()} == {"good"}


def test_a_batch_is_the_same_with_and_without_bad_cases(model, tmp_path):
    for folder in ("clean", "mixed"):
        nii(tmp_path / folder / "good")
    for fault in NIFTI[:8]:
        fault.make(tmp_path / "mixed" / fault.name)
    labels = []
    for folder in ("clean", "mixed"):
        call(["predict", "model", str(tmp_path / folder), "--to", str(tmp_path / f"{folder}-out")])
        prediction, _ = results.load(tmp_path / f"{folder}-out" / "good.json")
        labels.append(replace(prediction).label)
    assert (labels[0] == labels[1]).all()
