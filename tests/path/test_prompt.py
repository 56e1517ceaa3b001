"""A session: encoded once, on the scan's own grid, wherever the patch lies; wrong words refused."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch

import oncoseg
from grids import oriented
from oncoseg import registry, results
from oncoseg.__main__ import call
from oncoseg.case import Case, Task, Volume
from oncoseg.errors import BadData, BadFile, BadOption, BadRun
from oncoseg.model import open_model, pack, save_model
from oncoseg.prepare import Plan
from oncoseg.prepare.plan import Normalisation
from oncoseg.prompt import Session
from oncoseg.write import write_volume

TASK = Task("t", ("image",), {"target": 1}, {"target": ("target",)}, (1.0,) * 3, (16, 16, 16), ())
SCHEME = Normalisation("dataset", -100, 100)
PLAN = Plan(replace(TASK, strides=((2, 2, 2),) * 2), {"image": SCHEME})
FCN = "interactive_fcn:network=(unet:width=4,blocks=1)"
SAM = "sam_decoder:encoder=(unet:width=4,blocks=1),width=16"


def write_model(path, spelled, method="clicks", plan=PLAN):
    torch.manual_seed(0)
    network = registry.build("networks", spelled, plan.task)
    network.alone = "tests need no graph"
    return save_model(path, network, spelled, plan, {"method": method}, "none")


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models é")
    return {name: write_model(folder / f"{name}.onco", spelled)
            for name, spelled in (("fcn", FCN), ("sam", SAM))}  # fmt: skip


def scan_of(shape, spacing=(1.0,) * 3, order=(0, 1, 2), flips=(1, 1, 1)):
    """A scan with no air round it, in any orientation."""
    grid = oriented(shape, spacing, order, flips, tilt=0.05)
    array = np.random.default_rng(0).normal(0, 1, shape).astype(np.float32)
    return Case("c", "c", {"image": Volume(array, grid, Path("scan.nii.gz"))})


class Cubes:
    """Stands in for `decode`: the three voxels each way of a foreground click, less background's.

    Also keeps how often either was called.
    """

    gives = ("prompts", "boxes")

    def __init__(self, session):
        self.encoded, self.decoded = [], []
        session.network.encode = self.encode
        session.network.decode = self.decode

    def encode(self, batch):
        self.encoded.append(batch)
        assert not batch.prompts.points.shape[1]
        return [batch.image]

    def decode(self, pyramid, batch):
        assert pyramid[0].shape == batch.image.shape
        self.decoded.append(batch)
        logits = torch.full((1, 2, *batch.image.shape[2:]), -5.0)
        logits[:, 0] = 5
        places = torch.stack(torch.meshgrid(*map(torch.arange, logits.shape[2:]), indexing="ij"))
        for point, kind in zip(batch.prompts.points[0], batch.prompts.foreground[0]):
            near = (places - point.view(3, 1, 1, 1)).abs().amax(0) <= 1.01
            logits[0, 0, near], logits[0, 1, near] = (-5.0, 5.0) if kind else (5.0, -5.0)
        return [logits]


def cube(shape, *places):
    mask = np.zeros(shape, bool)
    for place in places:
        mask[tuple(slice(index - 1, index + 2) for index in place)] = True
    return mask


@pytest.mark.parametrize("name", ["fcn", "sam"])
def test_a_scan_is_encoded_once_and_each_prompt_only_decodes(models, name, monkeypatch):
    session = Session(open_model(models[name]), scan_of((14, 15, 16)))
    counts = {"encode": 0, "decode": 0}
    for word in counts:
        original = getattr(session.network, word)

        def counted(*given, word=word, original=original):
            counts[word] += 1
            return original(*given)

        monkeypatch.setattr(session.network, word, counted)
    for place in range(2, 12):
        session.click(place, 7, 7, foreground=bool(place % 2) or place == 2)
        assert session.mask.shape == (14, 15, 16)
    assert counts == {"encode": 1, "decode": 10}
    session.undo()
    assert session.mask.dtype == bool
    assert counts == {"encode": 1, "decode": 10}


@pytest.mark.parametrize(
    ("order", "flips", "spacing"),
    [((0, 1, 2), (1, 1, 1), 1.0), ((0, 1, 2), (-1, -1, 1), 1.0), ((2, 0, 1), (1, -1, -1), 1.0)],
)
def test_what_is_clicked_is_where_the_file_has_it(models, order, flips, spacing):
    session = Session(
        open_model(models["sam"]), scan_of((20, 41, 30), (spacing,) * 3, order, flips)
    )
    Cubes(session)
    assert not session.mask.any()
    session.click(4, 33, 12)
    assert np.array_equal(session.mask, cube((20, 41, 30), (4, 33, 12)))
    assert session.prediction.grid.same_as(session.case.grid)


def test_another_spacing_comes_back_round_the_click(models):
    session = Session(open_model(models["sam"]), scan_of((40, 40, 20), (0.5, 0.5, 1.0)))
    Cubes(session)
    mask = session.click(22, 13, 9).mask
    middle = np.argwhere(mask).mean(0)
    assert np.abs(middle - (22, 13, 9)).max() < 0.6
    # At 1 mm the click lies between voxels of two axes: 2 x 2 x 3 of them, four of the scan each.
    assert mask.sum() == pytest.approx(2 * 2 * 3 * 4, rel=0.1)


def test_prompts_outside_the_patch_open_another_and_join(models):
    session = Session(open_model(models["sam"]), scan_of((60, 20, 20)))
    spy = Cubes(session)
    session.click(8, 8, 8)
    session.click(50, 10, 10)
    assert len(spy.encoded) == 2
    assert np.array_equal(session.mask, cube((60, 20, 20), (8, 8, 8), (50, 10, 10)))
    session.click(9, 8, 8, foreground=False)  # in the first patch alone: one encoded, none anew
    assert (len(spy.encoded), len(spy.decoded)) == (2, 3)
    assert session.mask.sum() == 27 + 9
    session.undo().undo()
    assert np.array_equal(session.mask, cube((60, 20, 20), (8, 8, 8)))
    assert len(spy.encoded) == 2


def test_a_prompt_at_the_rim_of_the_patch_gets_one_of_its_own(models):
    session = Session(open_model(models["sam"]), scan_of((60, 20, 20)))
    spy = Cubes(session)
    session.click(30, 8, 8)  # sees 22 or 23 to 38
    session.click(37, 8, 8)
    assert len(spy.encoded) == 2
    assert session.mask[36:39].sum() == 27


def test_background_alone_opens_nothing_and_is_kept_for_later(models):
    session = Session(open_model(models["sam"]), scan_of((60, 20, 20)))
    spy = Cubes(session)
    session.click(8, 8, 8, foreground=False)
    assert not session.mask.any()
    assert not spy.encoded
    session.click(7, 8, 8)
    assert spy.decoded[0].prompts.foreground[0].tolist() == [0, 1]


def test_the_last_answer_is_fed_back_and_undo_forgets_it(models):
    session = Session(open_model(models["sam"]), scan_of((16, 16, 16)))
    first = session.click(8, 8, 8).prediction.probability
    session.click(3, 3, 3, foreground=False)
    second = session.prediction.probability
    session.undo()
    assert np.array_equal(session.prediction.probability, first)
    session.click(3, 3, 3, foreground=False)
    assert np.array_equal(session.prediction.probability, second)
    assert not np.array_equal(first, second)
    session.undo().undo()
    with pytest.raises(BadRun, match="no prompt to take back"):
        session.undo()


def test_a_mask_that_is_cut_off_says_so(models):
    session = Session(open_model(models["sam"]), scan_of((60, 16, 16)))
    Cubes(session)
    assert "edge" not in session.click(30, 8, 8).prediction.notes[-1]
    inner = session.network.decode
    session.network.decode = lambda pyramid, batch: [-inner(pyramid, batch)[0]]
    assert "reaches the edge" in session.click(31, 8, 8).prediction.notes[-1]


def test_boxes_are_read_where_the_network_reads_them(models):
    session = Session(open_model(models["sam"]), scan_of((60, 20, 20), flips=(-1, 1, 1)))
    spy = Cubes(session)
    session.box((30, 4, 4), (37, 9, 9))
    lower, upper = spy.decoded[0].prompts.boxes[0, 0].numpy()
    assert (upper - lower).tolist() == pytest.approx([7, 5, 5], abs=1e-3)
    assert ((lower >= 0) & (upper < 16)).all()
    with pytest.raises(BadOption, match=r"larger than the \(16, 16, 16\) voxels"):
        session.box((0, 0, 0), (20, 5, 5))
    with pytest.raises(BadOption, match="from its lower corner to its upper"):
        session.box((5, 5, 5), (1, 9, 9))
    plain = Session(open_model(models["fcn"]), scan_of((16, 16, 16)))
    with pytest.raises(BadRun, match="its network reads clicks, no boxes"):
        plain.box((1, 1, 1), (4, 4, 4))


def test_a_box_as_large_as_the_patch_fits_wherever_it_lies(models):
    session = Session(open_model(models["sam"]), scan_of((80, 40, 40), (0.5, 0.5, 0.5)))
    spy = Cubes(session)
    for first in range(20, 28):
        assert not session.box((first, 4, 4), (first + 30, 30, 30)).mask.any()
    assert all(batch.prompts.boxes.shape[1] >= 1 for batch in spy.decoded)
    assert len(spy.decoded) >= 8


@pytest.mark.parametrize("place", [(20, 1, 1), (-1, 1, 1), (1, 1), (float("nan"), 1, 1)])
def test_places_outside_the_scan_are_refused(models, place):
    session = Session(open_model(models["fcn"]), scan_of((20, 20, 20)))
    with pytest.raises(
        BadOption, match=r"outside of scan.nii.gz, whose voxels go from \(0, 0, 0\)"
    ):
        session.click(*place)
    assert not session.asked


def test_places_in_the_air_are_refused(models):
    case = scan_of((30, 30, 30))
    array = case.images["image"].array
    array[:10] = array.min()
    session = Session(open_model(models["fcn"]), case)
    with pytest.raises(BadOption, match="in the air round the body"):
        session.click(2, 5, 5)


@pytest.fixture
def scan(tmp_path):
    case = scan_of((20, 18, 16))
    volume = case.images["image"]
    return write_volume(tmp_path / "my scan é" / "image.nii.gz", volume.array, volume.grid)


def test_a_session_from_files_saves_a_record_that_reads_back(models, scan, tmp_path):
    session = oncoseg.prompt(models["fcn"], scan)
    session.click(9, 9, 9).click(2, 2, 2, foreground=False)
    written = session.save(tmp_path / "out" / "tumour.nii.gz")
    stored = nibabel.load(written)
    assert np.array_equal(np.asarray(stored.dataobj) > 0, session.mask)
    assert np.allclose(stored.affine, nibabel.load(scan).affine, atol=1e-5)
    prediction, _ = results.load(tmp_path / "out" / "tumour.json")
    assert "foreground (9, 9, 9); background (2, 2, 2)" in prediction.notes[0]
    with pytest.raises(BadFile, match=r"another ending than .nii.gz"):
        session.save(tmp_path / "tumour.nrrd")
    with pytest.raises(BadRun, match="nothing was pointed at"):
        session.undo().undo().save(tmp_path / "none.nii.gz")


def test_what_held_out_cases_promise_is_not_said_of_prompted_ones(models, scan, tmp_path):
    state = {"cases": 9, "missing": [""]}
    quantiles = dict.fromkeys(PLAN.task.regions, 0.1)
    steps = [
        {"posthoc": "temperature", "state": {"temperature": 2.0}},
        {"posthoc": "conformal", "state": {**state, "quantiles": quantiles}},
    ]
    opened = open_model(models["fcn"])
    path = tmp_path / "promising.onco"
    pack(path, {**opened.members, "posthoc.json": json.dumps({"steps": steps}).encode()})
    oncoseg.prompt(path, scan).click(9, 9, 9).save(tmp_path / "mask.nii.gz")
    prediction, _ = results.load(tmp_path / "mask.json")
    assert not prediction.intervals
    assert not any("held-out" in note for note in prediction.notes)


def test_the_verb_is_a_module_and_is_called():
    import oncoseg.prompt

    assert oncoseg.prompt.Session is Session
    assert callable(oncoseg.prompt)
    assert oncoseg.prompt is sys.modules["oncoseg.prompt"]


@pytest.mark.parametrize(
    ("spelled", "method", "sentence"),
    [
        ("unet:width=4", "clicks", "its network reads no prompts; train one with --method clicks"),
        (FCN, "supervised:", "was trained with supervised, which shows it no prompts"),
        (FCN, "", "was trained with an unknown method"),
    ],
)
def test_a_model_that_was_not_taught_is_refused(scan, tmp_path, spelled, method, sentence):
    path = write_model(tmp_path / "m.onco", spelled, method)
    with pytest.raises(BadRun, match=sentence):
        oncoseg.prompt(path, scan)


def test_a_session_is_on_one_case(models, scan, tmp_path):
    for name in ("a", "b"):
        (tmp_path / "many" / name).mkdir(parents=True)
        shutil.copy(scan, tmp_path / "many" / name / "image.nii.gz")
    with pytest.raises(BadData, match="holds 2 cases; a session is on one"):
        oncoseg.prompt(models["fcn"], tmp_path / "many")


def test_the_command_line_points_and_writes(models, scan, tmp_path, capsys):
    to = tmp_path / "t.nii.gz"
    line = ["prompt", str(models["sam"]), str(scan), "--to", str(to), "--json"]
    assert call([*line, "--box", "2,2,2,9,9,9", "--click", "4,4,4,background"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["written"] == str(to)
    assert said["voxels"] == int((np.asarray(nibabel.load(to).dataobj) > 0).sum())
    assert "box (2, 2, 2) to (9, 9, 9); background (4, 4, 4)" in said["notes"][0]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--click", "400,1,1"], "(400, 1, 1) lies outside of image.nii.gz"),
        (["--click", "1,a,1"], "'1,a,1' holds what is no number"),
        (["--click", "1"], "'1' is not X,Y,Z"),
        (["--box", "1,2,3"], "'1,2,3' is not X,Y,Z,X,Y,Z"),
        ([], "say what to segment: --click X,Y,Z"),
    ],
)
def test_wrong_words_are_one_sentence(models, scan, tmp_path, words, sentence, capsys):
    to = tmp_path / "t.nii.gz"
    assert call(["prompt", str(models["fcn"]), str(scan), "--to", str(to), *words]) == 2
    said = capsys.readouterr().err
    assert sentence in said
    assert said.count("\n") == 1
    assert not to.exists()


def test_without_torch_it_gives_the_pip_line(models, scan):
    script = (
        "import sys; sys.modules['torch'] = None; import oncoseg; "
        f"oncoseg.prompt({str(models['fcn'])!r}, {str(scan)!r})"
    )
    words = [sys.executable, "-c", script]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert "run: pip install 'oncoseg[train]'" in done.stderr
