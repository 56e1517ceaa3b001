"""Where tumours lie: exact in the template itself, within millimetres after registration."""

from functools import cache
from pathlib import Path

import numpy as np
import pytest

from oncoseg import Case, Grid, Prediction, Task, Volume, build
from oncoseg.blocks import atlas
from oncoseg.blocks.places import Surroundings
from oncoseg.blocks.registration import moved
from oncoseg.errors import BadFile
from oncoseg.read import read_volume

pytest.importorskip("nilearn")
pytest.importorskip("SimpleITK")

# From MNI to a patient whose head is smaller, turned and elsewhere.
PATIENT = np.array(
    [[0.9, 0.05, 0, 6], [-0.06, 0.86, 0.04, -9], [0.02, -0.05, 0.88, 14], [0, 0, 0, 1]]
)
GRID = Grid(
    (60, 74, 60), np.array([[-3.0, 0, 0, 92], [0, -3, 0, 95], [0, 0, 3, -70], [0, 0, 0, 1]])
)


@cache
def patient():
    """The template in the patient's place, in the order of voxels of most files."""
    values, _ = moved(atlas.template().scan, GRID, np.linalg.inv(PATIENT))
    grain = np.random.default_rng(0).normal(0, 4, values.shape)
    return Volume(np.where(values > 20, values + grain, 0).astype(np.int16), GRID, Path("t1.nii"))


def ball(centre, radius, matrix=PATIENT, grid=GRID):
    """A ball (mm) around a point of MNI space."""
    index = np.stack(np.indices(grid.shape), axis=-1)
    points = index @ grid.affine[:3, :3].T + grid.affine[:3, 3]
    middle = matrix[:3, :3] @ np.array(centre) + matrix[:3, 3]
    return np.linalg.norm(points - middle, axis=-1) <= radius


def locate(images, masks, grid=GRID, **options):
    task = Task("t", tuple(images), {"a": 1, "b": 2}, {"a": ("a",), "b": ("b",)})
    label = np.zeros(grid.shape, np.uint8)
    for value, mask in enumerate(masks, start=1):
        label[mask] = value
    empty = np.zeros((0, *grid.shape), np.float16)
    prediction = Prediction("c", task, grid, label, empty, tuple(images))
    return build("findings", "location", **options)(prediction, Case("c", "c", images))


def told(section, region=None):
    return {row["name"]: row["value"] for row in section["rows"] if row.get("region") == region}


def table(path, rows):
    path.write_text("value,name\n" + "".join(f"{value},{name}\n" for value, name in rows))
    return path


def write(path, array, affine):
    import nibabel

    nibabel.Nifti1Image(array, affine).to_filename(path)
    return path


def test_in_the_template_itself_all_is_exact(tmp_path):
    found = atlas.template()
    grid = found.scan.grid
    round_brain = ball((0, 0, 0), 70, np.eye(4), grid)
    around = Surroundings(Volume(round_brain, grid, Path("x")), round_brain, np.eye(4))
    lobes = np.zeros(grid.shape, np.uint8)
    lobes[found.scan.array > 0] = 1
    lobes[:, :100][lobes[:, :100] > 0] = 2  # y < -34
    known = atlas.structures(
        write(tmp_path / "lobes.nii.gz", lobes, grid.affine)
        if table(tmp_path / "lobes.csv", [(0, "none"), (1, "front"), (2, "back")])
        else None
    )
    box = np.zeros(grid.shape, bool)
    box[68:88, 90:110, 80:90] = True  # x -30 .. -11, y -44 .. -25, z 8 .. 17
    rows = {row["name"]: row["value"] for row in around.rows(box, grid, known)}
    assert rows["hemisphere"] == "left"
    assert (rows["left"], rows["right"], rows["midline crossed"]) == (100, 0, "no")
    assert [rows[f"centre, MNI {axis}"] for axis in "xyz"] == [-20.5, -34.5, 12.5]
    assert rows["share of the brain"] == pytest.approx(100 * 4000 / round_brain.sum())
    assert rows["depth of its centre"] == pytest.approx(
        70 - np.linalg.norm([20.5, 34.5, 12.5]), abs=1
    )
    assert rows["distance to the surface"] == pytest.approx(
        70 - np.linalg.norm([30, 44, 17]), abs=1
    )
    assert rows["distance to the ventricles"] == 0
    assert (rows["in front"], rows["in back"]) == (50, 50)
    tissues = [name for name in rows if name.endswith("the template")]
    assert len(tissues) == 4
    assert sum(rows[name] for name in tissues) == pytest.approx(100)
    both = {row["name"]: row["value"] for row in around.rows(box | box[::-1], grid, None)}
    assert both["left"] == 50
    assert (both["hemisphere"], both["midline crossed"]) == ("both", "yes")
    touching = np.zeros(grid.shape, bool)
    touching[60:102, 90:110, 80:90] = True  # to x = 3, as far as a midline may be displaced
    near = {row["name"]: row["value"] for row in around.rows(touching, grid, None)}
    assert (near["hemisphere"], near["midline crossed"]) == ("left", "not certain")
    assert near["left"] == pytest.approx(100 * 38.5 / 42)
    far = ball((60, 0, 5), 3, np.eye(4), grid)
    ways = np.argwhere(found.ventricles) + grid.affine[:3, 3] - [60, 0, 5]
    expected = np.linalg.norm(ways, axis=1).min() - 3
    rows = {row["name"]: row["value"] for row in around.rows(far, grid, None)}
    assert rows["distance to the ventricles"] == pytest.approx(expected, abs=1)


def test_a_known_patient_is_located_and_a_mirrored_one_on_the_other_side(tmp_path):
    left, middle = ball((-35, 20, 25), 12), ball((2, -40, 30), 15)
    halves = (atlas.template().scan.array > 0).astype(np.uint8)
    halves[98:] *= 2  # from x = 0
    own = write(tmp_path / "halves.nii.gz", halves, atlas.template().scan.grid.affine)
    table(tmp_path / "halves.csv", [(1, "the left half"), (2, "the right half")])
    section = locate({"flair": patient(), "t1": patient()}, [left, middle], atlas=str(own))
    assert "notes" not in section
    facts, tumour, other = told(section), told(section, "a"), told(section, "b")
    assert (facts["registered by"], facts["structures of"]) == ("t1", "halves.nii.gz")
    assert (tumour["in the left half"], "in the right half" in tumour) == (100, False)
    assert other["in the right half"] == pytest.approx(other["right"], abs=2)
    assert facts["outlines agree (Dice)"] > 0.97
    assert facts["there and back differ by"] < 2
    assert (tumour["hemisphere"], tumour["left"], tumour["midline crossed"]) == ("left", 100, "no")
    centre = [tumour[f"centre, MNI {axis}"] for axis in "xyz"]
    assert centre == pytest.approx([-35, 20, 25], abs=1)
    assert (other["hemisphere"], other["midline crossed"]) == ("both", "yes")
    assert other["right"] == pytest.approx(100 * (0.5 + 0.75 * 2 / 15 * 0.9), abs=5)
    mirrored = Volume(patient().array[::-1], GRID, Path("t1.nii"))
    section = locate({"t1": mirrored}, [left[::-1], middle[::-1]])
    assert told(section, "a")["hemisphere"] == "right"
    centre = [told(section, "a")[f"centre, MNI {axis}"] for axis in "xyz"]
    assert centre == pytest.approx([35, 20, 25], abs=1)


def crop(volume):
    return Volume(volume.array[14:34, 14:34, 14:34], Grid((20, 20, 20), GRID.affine), volume.path)


def filled(volume):
    """With a head around the brain, noise around that."""
    noise = np.random.default_rng(0).integers(1, 90, volume.array.shape)
    return Volume(np.where(volume.array > 0, volume.array, noise), GRID, volume.path)


def larger(volume):
    """As large as a whole head."""
    affine = np.diag([1.4, 1.4, 1.4, 1]) @ GRID.affine
    return Volume(volume.array, Grid(GRID.shape, affine), volume.path)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (crop, "measures 140 ml, a brain 600 to 2200 ml"),
        (filled, "is not brain alone on an even ground"),
        (larger, "a brain 600 to 2200 ml"),
    ],
)
def test_what_is_no_brain_alone_is_refused_in_a_sentence(change, why):
    image = change(patient())
    section = locate({"t1": image}, [np.ones(image.grid.shape, bool)], image.grid)
    assert section["rows"] == []
    (note,) = section["notes"]
    assert note.startswith("Location in the brain was not assessed: t1 cannot be taken to the MNI")
    assert why in note


def body():
    """As large as a brain."""
    inside = ball((0, -10, 10), 66) | ball((0, 10, 40), 40)
    grain = np.random.default_rng(0).normal(100, 15, GRID.shape)
    return Volume(np.where(inside, grain, 0), GRID, Path("t1.nii"))


def turned():
    """As by a header that swaps front and back, and so left and right."""
    affine = np.diag([-1.0, -1, 1, 1]) @ GRID.affine
    return Volume(patient().array, Grid(GRID.shape, affine), Path("t1.nii"))


@pytest.mark.parametrize("scan", [body, turned])
def test_what_the_template_does_not_fit_is_refused(scan):
    image = scan()
    section = locate({"t1": image}, [image.array > 0], image.grid)
    assert section["rows"] == []
    assert "cannot be taken to the MNI template" in section["notes"][0]


def test_without_image_or_region_it_says_so():
    assert "there is no image of it" in locate({}, [ball((0, 0, 0), 9)])["notes"][0]
    assert "no region holds a voxel" in locate({"t1": patient()}, [])["notes"][0]


def test_a_label_map_is_refused_that_is_not_named_or_elsewhere(tmp_path):
    grid, inside = atlas.template().scan.grid, atlas.template().scan.array > 0
    path = write(tmp_path / "own.nii.gz", (inside * 7).astype(np.uint8), grid.affine)
    with pytest.raises(BadFile, match=r"has no names of its values; put a table .* own\.csv"):
        atlas.structures(path)
    table(tmp_path / "own.csv", [(1, "insula")])
    with pytest.raises(BadFile, match=r"own\.csv: names no structure 7 of own\.nii\.gz"):
        atlas.structures(path)
    table(tmp_path / "own.csv", [(7, "brain, all of it"), (7, "brain")])
    assert atlas.structures(path).names == {7: "brain"}
    away = grid.affine.copy()
    away[0, 3] += 150
    write(path, (inside * 7).astype(np.uint8), away)
    with pytest.raises(BadFile, match="does not lie on the brain of the MNI template"):
        atlas.structures(path)
    (tmp_path / "own.csv").unlink()
    (tmp_path / "own.nii.txt").write_text("7 Brain_L 2001\n")  # as MRIcron names them
    write(path, (inside * 7).astype(np.uint8), grid.affine)
    assert atlas.structures(path).names == {7: "Brain_L"}
    write(path, (inside * 6.5).astype(np.float32), grid.affine)
    with pytest.raises(BadFile, match=r"values that are no whole numbers"):
        atlas.structures(path)
    path.write_bytes(b"no image")
    with pytest.raises(BadFile, match="cannot be read as NIfTI"):
        atlas.structures(path)


OTHER = ["pyradiomics/brain1_image.nii.gz", "pyradiomics/lung2_image.nii.gz"]
OTHER += [
    "msd_task04_hippocampus/images/hippocampus_001.nii.gz",
    "totalsegmentator/example_ct.nii.gz",
]
OTHER += ["sts_petctmr/STS_002/CT_image.nii.gz", "sts_petctmr/STS_005/MR_T1_image.nii.gz"]


@pytest.mark.parametrize("name", OTHER)
def test_real_scans_of_other_anatomy_are_refused(data, name):
    scan = read_volume(data / name)
    section = locate({"t1": scan}, [np.ones(scan.grid.shape, bool)], scan.grid)
    assert section["rows"] == []
    assert "cannot be taken to the MNI template" in section["notes"][0]


@pytest.mark.parametrize("case", ["01657", "01659"])
def test_a_real_tumour_lies_on_the_side_of_its_image(data, case):
    folder = data / "brats2021" / f"BraTS2021_{case}"
    scan = read_volume(folder / f"{folder.name}_t1ce.nii.gz")
    mask = read_volume(folder / f"{folder.name}_seg.nii.gz").array > 0
    inside = np.argwhere(scan.array > 0).mean(axis=0)
    away = (scan.grid.affine[:3, :3] @ (np.argwhere(mask).mean(axis=0) - inside))[0]
    found = told(locate({"t1ce": scan}, [mask], scan.grid), "a")
    assert abs(away) > 20
    assert found["hemisphere"] == ("left" if away < 0 else "right")
    assert found["centre, MNI x"] * away > 0
