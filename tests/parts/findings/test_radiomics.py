"""Radiomics: the published values end to end, and a sentence where something was not measured."""

from pathlib import Path

import numpy as np
import pytest

from ibsi import GLCM, GRID, LEVELS, MASK, MORPHOLOGY, PEAKS, SPATIAL, STATISTICS, differing
from oncoseg import Case, Grid, Prediction, Task, Volume, build
from oncoseg.blocks import intensity
from oncoseg.errors import BadOption


def measure(text="radiomics", label=MASK, grid=GRID, **images):
    task = Task("t", tuple(images) or ("ct",), {"a": 1}, {"all": ("a",)}, patch=(8,) * grid.dims)
    empty = np.zeros((0, *label.shape), np.float16)
    prediction = Prediction("c", task, grid, label.astype(np.uint8), empty, tuple(images))
    read = {
        name: image if isinstance(image, Volume) else Volume(image, grid, Path(name))
        for name, image in images.items()
    }
    return build("findings", text)(prediction, Case("c", "c", read))


def values(section, family, image=None):
    """Name without image and family -> value."""
    word = f"{family.upper()} " if family == "glcm" else ""
    before = f"{image} {word}" if image else ""
    return {
        row["name"].removeprefix(before): row["value"]
        for row in section["rows"]
        if row["family"] == family and row.get("image") == image
    }


def test_the_digital_phantom_has_the_reference_values_end_to_end():
    section = measure("radiomics:families=all,bins=6", ct=LEVELS)
    assert differing(values(section, "morphology"), MORPHOLOGY) == {}
    assert differing(values(section, "statistics", "ct"), STATISTICS) == {}
    assert differing(values(section, "peaks", "ct"), PEAKS) == {}
    assert differing(values(section, "spatial", "ct"), SPATIAL) == {}
    averaged = {name: found[0] for name, found in GLCM.items()}
    assert differing(values(section, "glcm", "ct"), averaged) == {}
    merged = measure("radiomics:families=glcm,width=1,merged=true", ct=LEVELS)
    assert differing(values(merged, "glcm", "ct"), {n: v[1] for n, v in GLCM.items()}) == {}
    assert section["notes"] == []
    assert {row["region"] for row in section["rows"]} == {"all"}
    names = [row["name"] for row in section["rows"]]
    assert len(names) == len(set(names))


def test_each_lesion_alone():
    label = np.zeros((20, 20, 20), np.uint8)
    label[1:6, 1:6, 1:6] = 1
    label[10:18, 10:18, 10:18] = 1
    image = np.random.default_rng(0).normal(size=label.shape)
    grid = Grid(label.shape, np.eye(4))
    section = measure("radiomics:families=statistics,lesion=true", label, grid, t1=image)
    means = {row["lesion"]: row["value"] for row in section["rows"] if row["name"] == "t1 mean"}
    inside = {"all 1": image[10:18, 10:18, 10:18], "all 2": image[1:6, 1:6, 1:6]}
    assert means == pytest.approx({name: part.mean() for name, part in inside.items()})


def test_an_image_elsewhere_is_resampled_and_what_it_does_not_show_is_said():
    label = np.zeros((12, 12, 12), np.uint8)
    label[2:8, 2:8, 2:8] = 1
    grid = Grid(label.shape, np.eye(4))
    coarse = Grid((6, 12, 12), np.array([[2.0, 0, 0, 4], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]))
    ramp = np.broadcast_to(np.uint8(4 + 2 * np.arange(6))[:, None, None], coarse.shape)
    section = measure(
        "radiomics:families=statistics", label, grid, t2=Volume(ramp, coarse, Path("t2"))
    )
    found = values(section, "statistics", "t2")
    assert (found["minimum"], found["maximum"]) == (4, 7)
    assert "t2: resampled linearly" in section["notes"][0]
    assert section["notes"][1].startswith("all in t2: 33.3% of it was left out")


def test_intensities_out_of_range_are_left_out_and_bins_begin_with_it():
    section = measure("radiomics:families=histogram+statistics,width=2,within=-3x4", ct=LEVELS)
    found = values(section, "statistics", "ct")
    assert (found["minimum"], found["maximum"]) == (1, 4)
    levels = {row["name"]: row["value"] for row in section["rows"]}
    assert (levels["ct histogram minimum"], levels["ct histogram maximum"]) == (3, 4)
    note, few = section["notes"]
    assert "whose textures say little" in few
    assert note.startswith("all in ct: 9.5% of it was left out")
    assert note.endswith("has no intensity that counts.")
    assert "bins 2 wide from -3;" in section["method"]
    assert "count from -3 to 4." in section["method"]
    kept = measure("radiomics:families=statistics,outliers=2", ct=LEVELS)
    assert values(kept, "statistics", "ct")["maximum"] == 4


def test_images_that_are_asked_for_alone():
    section = measure("radiomics:image=pt+ct,families=statistics", ct=LEVELS, t1=LEVELS)
    assert {row["image"] for row in section["rows"]} == {"ct"}
    assert section["notes"] == ["There is no image pt to measure in."]


def test_a_region_too_large_for_all_its_pairs_is_told(monkeypatch):
    monkeypatch.setattr(intensity, "LARGEST", 100)
    section = measure("radiomics:families=spatial", ct=LEVELS)
    names = {row["name"] for row in section["rows"]}
    assert names == {"ct integrated intensity", "ct centre of mass shift"}
    assert "too large for Moran's I" in section["notes"][0]


def test_what_cannot_be_measured_is_said_and_no_number_stands_for_it():
    nothing = measure()
    assert "No image is at hand" in nothing["notes"][0]
    assert {row["family"] for row in nothing["rows"]} == {"morphology"}
    assert measure(label=MASK & False, ct=LEVELS)["rows"] == []
    fine = measure("radiomics:families=glcm,width=0.001", ct=LEVELS)
    assert "all in ct was not measured: 5001 grey levels" in fine["notes"][0]
    blank = measure("radiomics:families=statistics", ct=np.where(MASK, np.nan, LEVELS))
    assert blank["rows"] == []
    assert "100.0% of it was left out: it lies outside" in blank["notes"][0]
    flat = Grid((5, 4), np.eye(3))
    picture = measure("radiomics:families=all", MASK[..., 0], flat, photo=LEVELS[..., 0])
    assert picture["notes"] == [
        "Defined in space alone and not measured: morphology, peaks, spatial."
    ]
    assert {"glcm", "gldzm"} <= {row["family"] for row in picture["rows"]}
    thick = Grid(GRID.shape, np.diag([1.0, 1, 5, 1]))
    assert "5.0 times as long as wide" in measure(grid=thick, ct=LEVELS)["notes"][0]


@pytest.mark.parametrize(
    "text", ["families=glcm+shapes", "bins=0", "bins=5000", "width=-1", "within=3x1", "outliers=-2"]
)
def test_options_out_of_range_are_refused(text):
    with pytest.raises(BadOption, match=text.partition("=")[0]):
        build("findings", f"radiomics:{text}")
