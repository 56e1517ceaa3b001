"""Pictures of the worst cases: over their image, in colour, or that of a file of several."""

import base64
import io
import re

import nibabel
import numpy as np
import pytest
from PIL import Image

from contests import GRID, folder, label
from oncoseg import files
from oncoseg.compare import compare

CASES = ("p1", "p2", "p3")
TINT = (200, 120, 60)


def coloured(where):
    """Colour pictures of a box, truths, and two algorithms of which the second is off by three."""
    for number, case in enumerate(CASES):
        mask = np.zeros((40, 50), np.uint8)
        mask[5:30, 10 : 30 + number] = 255
        image = np.where(mask[..., None] > 0, np.uint8(TINT), np.uint8(20))
        for name, array in (("images", image), ("masks", mask)):
            (where / "data" / name).mkdir(parents=True, exist_ok=True)
            Image.fromarray(array).save(where / "data" / name / f"{case}.png")
        for name, by in (("a", 0), ("b", 3)):
            (where / name).mkdir(exist_ok=True)
            Image.fromarray(np.roll(mask, by, 0)).save(where / name / f"{case}.png")


def several(where):
    """A data set of files of two images, the first of which is bright in one box."""
    for case in CASES:
        path = where / "data" / "imagesTr" / f"{case}.nii.gz"
        path.parent.mkdir(parents=True, exist_ok=True)
        images = np.stack([50 + 150.0 * label(), 100 + 0.0 * label()], -1).astype(np.float32)
        images[0, 0, 0] = 0
        nibabel.Nifti1Image(images, GRID.affine).to_filename(path)
    folder(where / "data" / "labelsTr", {case: label() for case in CASES})
    said = {"modality": {0: "t1", 1: "t2"}, "labels": {"0": "air", "1": "rim"}}
    files.write_json(where / "data" / "dataset.json", said)
    for name, by in (("a", 0), ("b", 1)):
        folder(where / name, {case: label(2 + by) for case in CASES})


@pytest.mark.parametrize("made", [coloured, several])
def test_the_worst_cases_are_shown_over_their_image(tmp_path, made):
    made(tmp_path)
    two = [tmp_path / name for name in "ab"]
    compare(two, tmp_path / "data", metrics=("dice",), samples=50, to=tmp_path / "out")
    page = (tmp_path / "out" / "comparison.html").read_text(encoding="utf-8")
    assert "no image was found" not in page
    found = re.findall(r"data:image/jpeg;base64,([^\"]+)", page)
    assert len(found) == 2 * len(CASES)
    for one in found:
        picture = np.asarray(Image.open(io.BytesIO(base64.b64decode(one))).convert("RGB"))
        middle = picture[picture.shape[0] // 2, picture.shape[1] // 2].astype(int)
        wanted = TINT if made is coloured else (255, 255, 255)
        assert np.abs(middle - wanted).max() < 12
