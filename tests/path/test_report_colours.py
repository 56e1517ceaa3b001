"""A report of a colour picture shows it in colour; of a file of several images, each of them."""

import base64
import io
import re

import nibabel
import numpy as np
import pytest
from PIL import Image

from oncoseg import files, results
from oncoseg.case import Grid, Prediction, Task
from oncoseg.errors import BadFile
from oncoseg.predict.scan import Scan
from oncoseg.prepare.plan import Normalisation, Plan
from oncoseg.read import find, read_case, read_volume
from oncoseg.report import report

COLOURS = ("red", "green", "blue")
VALUES = (200, 120, 60)


def shown(folder, case):
    """The images on the page of a case, as (rows, columns, 3)."""
    page = (folder / f"{case}.html").read_text(encoding="utf-8")
    assert "Without pictures" not in page
    found = re.findall(r"data:image/jpeg;base64,([^\"]+)", page)
    return [
        np.asarray(Image.open(io.BytesIO(base64.b64decode(one))).convert("RGB")) for one in found
    ]


def predicted(folder, source, task):
    """A prediction of a source, as predicting makes it, with the label 1 in the middle."""
    case = read_case(source, modalities=task.modalities)
    scan = Scan.of(case, Plan(task, {name: Normalisation() for name in task.modalities}))
    label = np.zeros(scan.grid.shape, np.uint8)
    label[tuple(slice(size // 4, size // 2) for size in label.shape)] = 1
    empty = np.zeros((0, *label.shape), dtype=np.float16)
    made = Prediction(case.id, task, scan.grid, label, empty, tuple(scan.images))
    made = made.but(images=scan.images, channels=scan.channels)
    results.save(made, folder)
    return made


def test_a_picture_is_shown_in_its_colours(tmp_path):
    colours = np.zeros((40, 50, 3), dtype=np.uint8)
    colours[5:30, 10:40] = VALUES
    path = tmp_path / "polyp.png"
    Image.fromarray(colours).save(path)
    task = Task("polyps", COLOURS[::-1], {"polyp": 1}, {"polyp": ("polyp",)}, (1.0, 1.0), (40, 50))
    found = predicted(tmp_path / "out", find(path).sources[0], task)
    assert found.channels == {"blue": 2, "green": 1, "red": 0}
    report(tmp_path / "out")
    (picture,) = shown(tmp_path / "out", "polyp")
    rows, columns, _ = picture.shape
    assert np.abs(picture[rows // 2, columns // 2].astype(int) - VALUES).max() < 6
    page = next((tmp_path / "out").rglob("polyp*.html")).read_text(encoding="utf-8")
    assert page.count("used, polyp.png") == 1


def decathlon(folder, names):
    """A data set of one case whose file holds an image a name: 100, and a cube 100 brighter."""
    grid = Grid((16, 16, 12), np.eye(4))
    images = np.full((*grid.shape, len(names)), 100, np.float32)
    for place in range(len(names)):
        images[2 + 4 * place : 5 + 4 * place, 4:8, 3:6, place] += 100
    path = folder / "imagesTr" / "p1.nii.gz"
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.Nifti1Image(images, grid.affine).to_filename(path)
    said = {"name": "four", "modality": dict(enumerate(names)), "labels": {"0": "air", "1": "rim"}}
    files.write_json(folder / "dataset.json", said)
    return find(folder).sources[0]


def test_each_image_of_a_file_is_read_again_from_its_place(tmp_path):
    """Also where the model has not all of them, and in another order."""
    source = decathlon(tmp_path / "data", ("flair", "t1", "t2"))
    task = Task("rims", ("t2", "flair"), {"rim": 1}, {"rim": ("rim",)}, (1.0,) * 3, (8, 8, 8))
    made = predicted(tmp_path / "out", source, task)
    assert made.channels == {"t2": 2, "flair": 0}
    loaded, _ = results.load(tmp_path / "out" / "p1.json")
    assert loaded.channels == made.channels
    case = read_case(source)
    for name, path in loaded.images.items():
        there = read_volume(path, loaded.channels[name]).array
        assert np.array_equal(there, case.images[name].array)
    assert not np.array_equal(case.images["t2"].array, case.images["flair"].array)
    report(tmp_path / "out")
    assert len(shown(tmp_path / "out", "p1")) > 4


def test_a_file_that_has_fewer_images_now_is_refused(tmp_path):
    path = decathlon(tmp_path, ("flair", "t1")).images["t1"]
    assert read_volume(path, 1).channel == 1
    with pytest.raises(BadFile, match="holds 2 images, of which none is number 3"):
        read_volume(path, 2)
