"""The tools of others check and read what is written: dicom3tools, dcmqi, dcmtk."""

import json
import shutil
import subprocess

import numpy as np
import pytest
from scipy import ndimage

from oncoseg.read import read_volume

pytest.importorskip("pydicom", reason="needs the extra 'dicom'")
pytest.importorskip("highdicom", reason="needs the extra 'dicom'")
from objects import SHAPE, TASK, groups


@pytest.mark.skipif(not shutil.which("dciodvfy"), reason="needs dciodvfy (dicom3tools)")
@pytest.mark.parametrize("kind", ["seg", "lesions", "rtstruct", "sr"])
def test_dciodvfy_has_nothing_to_say(objects, kind):
    command = ["dciodvfy", "-new", str(objects[0] / f"case 1.{kind}.dcm")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    said = [line for line in done.stderr.splitlines() if line.startswith(("Error", "Warning"))]
    assert said == []
    assert done.returncode == 0


@pytest.mark.skipif(not shutil.which("segimage2itkimage"), reason="needs dcmqi")
@pytest.mark.parametrize("kind", ["seg", "labelmap", "lesions"])
def test_dcmqi_reads_the_same_segments(objects, tmp_path, kind):
    out, _, made, _ = objects
    command = ["segimage2itkimage", "--inputDICOM", str(out / f"case 1.{kind}.dcm")]
    command += ["--outputDirectory", str(tmp_path), "--outputType", "nii", "--prefix", "a"]
    subprocess.run(command, capture_output=True, check=True)
    said = json.loads((tmp_path / "a-meta.json").read_text(encoding="utf-8"))
    names = {
        one["labelID"]: one["SegmentLabel"] for two in said["segmentAttributes"] for one in two
    }
    wanted = {name: made.label == value for name, value in TASK.labels.items()}
    wanted = wanted if kind == "labelmap" else made.masks
    back = {name: np.zeros(SHAPE, bool) for name in names.values()}
    for path in sorted(tmp_path.glob("a-*.nii.gz")):
        found = read_volume(path)
        index = np.argwhere(found.array)
        there = np.linalg.inv(made.grid.affine) @ found.grid.affine
        places = np.rint(index @ there[:3, :3].T + there[:3, 3]).astype(int)
        assert np.abs(index @ there[:3, :3].T + there[:3, 3] - places).max() < 1e-3
        for place, value in zip(places, found.array[tuple(index.T)]):
            back[names[int(value)]][tuple(place)] = True
    for name, mask in back.items():
        if kind == "lesions":
            pieces, _ = ndimage.label(made.masks[name.split()[0]], np.ones((3, 3, 3)))
            assert (mask == (pieces == pieces[mask].max())).all()
        elif name in wanted:
            assert (mask == wanted[name]).all()


@pytest.mark.skipif(not shutil.which("tid1500reader"), reason="needs dcmqi")
def test_dcmqi_reads_the_same_measurements(objects, tmp_path):
    out, found, _, _ = objects
    command = ["tid1500reader", "--inputDICOM", str(out / "case 1.sr.dcm")]
    command += ["--outputMetadata", str(tmp_path / "a.json")]
    subprocess.run(command, capture_output=True, check=True)
    said = json.loads((tmp_path / "a.json").read_text(encoding="utf-8"))["Measurements"]
    told = groups(found["sr"])
    assert [one["TrackingIdentifier"] for one in said] == [
        group["Tracking Identifier"] for group in told
    ]
    for one, group in zip(said, told):
        for item in one["measurementItems"]:
            value = (float(item["value"]), item["units"]["CodeValue"])
            assert value == group[item["quantity"]["CodeMeaning"]]


@pytest.mark.skipif(not shutil.which("dsrdump"), reason="needs dcmtk")
def test_dcmtk_takes_the_report(objects):
    command = ["dsrdump", str(objects[0] / "case 1.sr.dcm")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert '"WT (whole region)"' in done.stdout
