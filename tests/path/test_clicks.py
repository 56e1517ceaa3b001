"""The verb `clicks`: NoC by its definition, failures counted, on any labelled structures."""

import json
from types import SimpleNamespace

import numpy as np
import pytest

import oncoseg
from oncoseg import Grid
from oncoseg.__main__ import call
from oncoseg.errors import BadData, BadOption, BadRun
from oncoseg.run import Run
from oncoseg.train import train
from oncoseg.write import write_volume
from runs import toy_data

SHAPE = (24, 20, 16)
GRID = Grid(SHAPE, np.diag([1.0, 1.0, 1.5, 1.0]))


class Painter:
    """In a session's place: a click takes all within two voxels of it, or clears it."""

    def __init__(self, model, case, device=""):
        self.asked = []

    @property
    def mask(self):
        mask = np.zeros(SHAPE, bool)
        for place, foreground in self.asked:
            near = np.abs(np.indices(SHAPE) - np.reshape(place, (3, 1, 1, 1))).max(0) <= 2
            mask[near] = foreground
        return mask

    def click(self, *place, foreground=True):
        if place[0] > 20:
            raise BadOption("it lies in the air")
        self.asked.append((place, foreground))

    def undo(self):
        self.asked.pop()


def world(folder, cubes):
    """A case for each list of cubes (first voxel, side, label)."""
    for place, some in enumerate(cubes):
        label = np.zeros(SHAPE, np.uint8)
        for first, side, value in some:
            label[tuple(slice(at, at + side) for at in first)] = value
        image = np.random.default_rng(place).normal(size=SHAPE).astype(np.float32)
        write_volume(folder / "imagesTr" / f"p{place}.nii.gz", image, GRID)
        write_volume(folder / "labelsTr" / f"p{place}.nii.gz", label, GRID)
    about = {"name": "cubes", "labels": {"0": "background", "1": "cyst", "2": "node"}}
    about |= {"modality": {"0": "image"}, "numTraining": len(cubes), "numTest": 0, "test": []}
    names = [f"p{place}" for place in range(len(cubes))]
    files = [{"image": f"./imagesTr/{one}.nii.gz", "label": f"./labelsTr/{one}.nii.gz"} for one in names]  # fmt: skip  # noqa: E501
    (folder / "dataset.json").write_text(json.dumps({**about, "training": files}))
    return folder


@pytest.fixture
def painted(monkeypatch):
    """Sessions are painters, of a model that was taught on whole structures or on pieces."""

    def use(method="clicks"):
        model = SimpleNamespace(
            task=SimpleNamespace(modalities=("image",)), card={"method": method}, path="m",
            sha256="0",
        )  # fmt: skip
        monkeypatch.setattr("oncoseg.clicks.open_model", lambda path: model)
        monkeypatch.setattr("oncoseg.clicks.Session", Painter)

    return use


def test_noc_is_the_first_click_that_reaches_the_iou_and_failures_are_the_cap(tmp_path, painted):
    painted()
    data = world(tmp_path, [[((2, 2, 2), 5, 1)], [((2, 2, 2), 6, 1), ((12, 8, 2), 5, 2)]])
    found = oncoseg.clicks("m", data, most=2, to=tmp_path / "out")
    whole, part, node = found.targets
    assert [one.region for one in found.targets] == ["cyst", "cyst", "node"]
    assert whole.dice == (1, 1)
    assert (whole.noc85, whole.reached85, whole.noc90, whole.reached90) == (1, True, 1, True)
    assert part.dice[0] == pytest.approx(2 * 125 / (125 + 216), abs=1e-6)
    assert (part.noc85, part.reached85) == (2, False)
    assert node.noc90 == 1  # the session was as new for the second structure of the case
    summary = found.summary()
    assert summary["cyst"]["noc85"]["mean"] == 1.5
    assert summary["cyst"]["never85"] == 1
    assert summary["all"]["targets"] == 3
    written = json.loads((tmp_path / "out" / "clicks.json").read_text())
    assert written == json.loads(json.dumps(found.as_dict()))
    assert "counts as 2 clicks" in found.table()


def test_pieces_are_targets_for_a_model_that_was_taught_on_pieces(tmp_path, painted):
    data = world(tmp_path, [[((2, 2, 2), 5, 1), ((12, 12, 8), 5, 1)]])
    painted()
    (both,) = oncoseg.clicks("m", data, most=2).targets
    assert both.dice == pytest.approx((2 * 125 / 375, 1), abs=1e-6)
    painted("clicks:connected=true")
    assert [one.dice for one in oncoseg.clicks("m", data, most=2).targets] == [(1, 1), (1, 1)]


def test_what_cannot_be_clicked_or_read_counts_as_the_worst(tmp_path, painted):
    painted()
    data = world(tmp_path, [[((2, 2, 2), 5, 1)], [((19, 2, 2), 5, 1)], [((2, 2, 2), 5, 2)]])
    (data / "labelsTr" / "p2.nii.gz").write_bytes(b"nothing")
    found = oncoseg.clicks("m", data, most=4)
    assert found.failed == ("p1", "p2")
    assert found.summary()["cyst"]["noc85"]["mean"] == 2.5
    assert found.summary()["all"]["never90"] == 2
    assert found.summary()["all"]["dice"][0]["mean"] == pytest.approx(1 / 3, abs=1e-6)
    assert "it lies in the air" in found.table()
    with pytest.raises(BadData, match=r"nothing could be clicked; .*p2"):
        oncoseg.clicks("m", data, most=4, cases=("p2",))
    with pytest.raises(BadOption, match="at least one click"):
        oncoseg.clicks("m", data, most=0)


def test_a_trained_model_is_clicked_by_command_line(tmp_path, capsys):
    toy_data(tmp_path / "data", 0, 4, size=16, layout="brats")
    run = {"data": str(tmp_path / "data"), "minutes": 0, "steps": 2, "folds": 2, "device": "cpu"}
    small = "unet:width=4,blocks=1"
    fcn = f"interactive_fcn:network=({small})"
    train(Run(to=str(tmp_path / "m.onco"), network=fcn, method="clicks", batch=1, **run))
    words = ["clicks", str(tmp_path / "m.onco"), str(tmp_path / "data"), "--clicks", "2", "--json"]
    assert call([*words, "--cases", str(tmp_path / "m.run" / "held_out.json")]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["clicks"] == 2
    assert {one["case"] for one in found["targets"]} == set(
        json.loads((tmp_path / "m.run" / "held_out.json").read_text())
    )
    assert all(len(one["dice"]) == 2 >= len(one["seconds"]) for one in found["targets"])
    train(Run(to=str(tmp_path / "plain.onco"), network=small, **run))
    with pytest.raises(BadRun, match="its network reads no prompts"):
        oncoseg.clicks(tmp_path / "plain.onco", tmp_path / "data")
