"""What was not looked for in a case is unknown from files to batch, never background."""

import numpy as np
import pytest
import torch

from oncoseg import registry
from oncoseg.blocks.annotated import known
from oncoseg.blocks.supervision import labelled_weight
from oncoseg.case import Grid, Task
from oncoseg.errors import BadFile, OncosegError
from oncoseg.prepare import open_store, prepare
from oncoseg.read import find
from oncoseg.sample import Sampler
from oncoseg.trainable import Network
from oncoseg.write import write_volume

LABELS = {"liver": 1, "spleen": 2}
GRID = Grid((12, 12, 12), np.eye(4))


@pytest.fixture
def data(tmp_path):
    """Two cases with liver and spleen, and a third organ's value as what is to be ignored."""
    rng = np.random.default_rng(0)
    label = np.zeros(GRID.shape, np.uint8)
    label[2:6, 2:6, 2:6], label[7:10, 7:10, 7:10], label[:, :, 11] = 1, 2, 9
    for name in ("one", "two"):
        image = rng.normal(size=GRID.shape).astype(np.float32) + label
        write_volume(tmp_path / "data" / name / "mr_image.nii.gz", image, GRID)
        write_volume(tmp_path / "data" / name / "mr_mask.nii.gz", label, GRID)
    return tmp_path / "data"


def say(data, *rows):
    text = "\n".join("\t".join(row) for row in rows) + "\n"
    (data / "cases.tsv").write_text(text, encoding="utf-8")


def prepared(data, **options):
    store = data.parent / "store"
    prepare(data, store, labels={**LABELS, "ignore": 9}, **options)
    return open_store(store)


def batch_of(case, regions=None):
    names = regions or {name: (name,) for name in LABELS}
    task = Task("t", ("mr",), LABELS, names, patch=case.shape)
    return Sampler([case], task, case.shape, 1)(0)


def test_a_table_beside_the_data_says_what_was_looked_for(data):
    say(data, ("case", "annotated", "patient", "site"), ("two", "liver", "p", "here"))
    one, two = find(data).sources
    assert (one.annotated, one.patient) == ((), "one")
    assert (two.annotated, two.patient, two.site) == (("liver",), "p", "here")


def test_ignored_voxels_and_what_was_not_looked_for_have_no_part_in_a_batch(data):
    say(data, ("case", "annotated"), ("two", "liver"))
    one, two = prepared(data)
    whole, part = batch_of(one), batch_of(two)
    assert whole.annotated.tolist() == [[True, True, True]]
    assert part.annotated.tolist() == [[True, True, False]]
    assert whole.label[0, 2].sum() == 27
    assert part.label[0, 2].sum() == 0
    for batch in (whole, part):
        assert torch.equal(batch.label.sum(1), torch.ones_like(batch.label[:, 0]))
        assert batch.weight[..., 11].sum() == 0
        assert batch.weight[..., :11].min() == 1
    assert len(two.points["spleen"]) == 0


def test_what_was_looked_for_may_tell_of_no_region(data):
    """Of the liver alone it is not known where all organs are, nor where they are not."""
    say(data, ("case", "annotated"), ("two", "liver"))
    regions = {"organs": ("liver", "spleen")}
    _, two = prepared(data, regions=regions)
    assert two.known(Task("t", ("mr",), LABELS, regions)) == ()
    assert not labelled_weight(batch_of(two, regions)).any()


def test_of_nested_regions_the_whole_may_be_known_alone(data):
    regions = {"organs": ("liver", "spleen"), "spleen": ("spleen",)}
    say(data, ("case", "annotated"), ("two", "organs"))
    _, two = prepared(data, regions=regions)
    batch = batch_of(two, regions)
    assert batch.annotated.tolist() == [[True, False]]
    assert batch.label[0, 0].sum() == 64 + 27
    assert batch.label[0, 1].sum() == 0


def test_cases_and_voxels_have_weights(data):
    ramp = np.linspace(0, 1, 12, dtype=np.float32) * np.ones(GRID.shape, np.float32)
    write_volume(data.parent / "trust.nii.gz", ramp, GRID)
    rows = ("one", "0.5", ""), ("two", "", "../trust.nii.gz")
    say(data, ("case", "weight", "weights"), *rows)
    one, two = prepared(data)
    assert batch_of(one).weight[0, 0, 0, 0, :11] == pytest.approx(0.5, abs=0.003)
    found = batch_of(two).weight[0, 0, 3, 3]
    assert found[:11] == pytest.approx(ramp[0, 0, :11], abs=0.003)
    assert found[11] == 0


@pytest.mark.parametrize(
    ("rows", "word"),
    [
        ([("case", "anotated"), ("one", "liver")], "did you mean annotated"),
        ([("case", "site"), ("onne", "a")], "names the case 'onne'"),
        ([("case", "site"), ("one", "a"), ("one", "b")], "names a case twice"),
        ([("case", "weight"), ("one", "3")], "has the weight 3"),
        ([("name", "site"), ("one", "a")], "lacks a column case"),
    ],
)
def test_a_table_that_makes_no_sense_is_refused(data, rows, word):
    say(data, *rows)
    with pytest.raises(BadFile, match=word):
        find(data)


def test_an_organ_that_no_label_has_is_refused(data):
    say(data, ("case", "annotated"), ("two", "livr"))
    with pytest.raises(OncosegError, match=r"case two: .*livr.*did you mean liver"):
        prepared(data)


class Fixed(Network):
    """Gives the logits that it holds."""

    def __init__(self, logits):
        super().__init__()
        self.logits = torch.nn.Parameter(logits)

    def encode(self, batch):
        return [self.logits]

    def decode(self, pyramid, batch):
        return pyramid


def gradient(data, regions):
    """Of the loss on the case whose spleen nobody drew, by the logits of each output."""
    say(data, ("case", "annotated"), ("two", "liver"))
    batch = batch_of(prepared(data, regions=regions)[1], regions)
    generator = torch.Generator().manual_seed(0)
    network = Fixed(torch.randn(batch.label.shape, generator=generator))
    task = Task("t", ("mr",), LABELS, regions, patch=GRID.shape)
    loss = registry.build("losses", "dice_ce", exclusive=task.exclusive)
    method = registry.build("methods", "supervised", network, task, loss)
    sum(method.losses(batch, 0).values()).backward()
    return network.logits.grad[0], batch


def test_a_region_that_was_not_looked_for_gets_no_gradient(data):
    regions = {"organs": ("liver", "spleen"), "liver": ("liver",), "spleen": ("spleen",)}
    found, _ = gradient(data, regions)
    assert found[0].abs().max() == 0
    assert found[2].abs().max() == 0
    assert found[1].abs().max() > 0


def test_a_class_that_was_not_looked_for_is_never_pushed_towards_background(data):
    found, batch = gradient(data, {name: (name,) for name in LABELS})
    background = (batch.label[0, 0] == 1) & (batch.weight[0, 0] == 1)
    assert (found[2][background] <= 0).all()  # a step raises it together with background
    inside = batch.label[0, 1] == 1
    assert (found[2][inside] > 0).all()  # liver it is, so it is not spleen
    assert found[:, batch.weight[0, 0] == 0].abs().max() == 0


def test_known_regions():
    task = Task("t", ("a",), LABELS, {"both": ("liver", "spleen"), "spleen": ("spleen",)})
    assert known(task, ()) == ("both", "spleen")
    assert known(task, ("liver",)) == ()
    assert known(task, ("spleen",)) == ("spleen",)
    assert known(task, ("liver", "spleen")) == ("both", "spleen")
