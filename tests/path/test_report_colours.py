"""A report of a colour picture shows it, each colour as the modality that it was."""

import numpy as np
from PIL import Image

from oncoseg import results
from oncoseg.case import Grid, Prediction, Task
from oncoseg.report import report
from oncoseg.report.image import read_modality


def test_each_colour_is_read_and_shown(tmp_path):
    colours = np.zeros((40, 50, 3), dtype=np.uint8)
    colours[5:30, 10:40] = (200, 120, 60)
    path = tmp_path / "polyp.png"
    Image.fromarray(colours).save(path)
    names = ("blue", "green", "red")
    for name, value in zip(names, (60, 120, 200)):
        assert read_modality(path, name).array.max() == value
    grid = read_modality(path, "red").grid
    assert isinstance(grid, Grid)
    task = Task("polyps", names, {"polyp": 1}, {"polyp": ("polyp",)})
    label = (colours[..., 0] > 0).astype(np.uint8)
    empty = np.zeros((0, *label.shape), dtype=np.float16)
    images = dict.fromkeys(names, path)
    results.save(Prediction("polyp", task, grid, label, empty, names, images=images), tmp_path)
    report(tmp_path)
    page = (tmp_path / "polyp.html").read_text(encoding="utf-8")
    assert "no longer where it was" not in page
    assert page.count("data:image") >= len(names)
