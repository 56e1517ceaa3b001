"""Clicks: what is pointed at is learnt, on shapes that look alike, and on a shape never seen."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from oncoseg import registry
from oncoseg.blocks.clicks import asked, dice_curve
from oncoseg.case import Batch, Prompts, Task
from oncoseg.errors import BadOption
from oncoseg.trainable import Loss

TASK = Task(
    "shapes",
    ("image",),
    {"first": 1, "second": 2},
    {"first": ("first",), "second": ("second",)},
    (1.0, 1.0),
    (32, 32),
    ((2, 2),) * 3,
)
SAM = "sam_decoder:encoder=(unet:width=8,blocks=1),width=32,level=1"
FCN = "interactive_fcn:network=(unet:width=8,blocks=1)"


def shape_of(kind, centre, radius):
    """A disc, a square or a diamond."""
    away = np.abs(np.indices((32, 32)) - np.reshape(centre, (2, 1, 1)))
    norm = {"disc": np.hypot(*away), "square": away.max(0), "diamond": away.sum(0) / 1.3}
    return norm[kind] <= radius


def draw(rng, kinds):
    """Two shapes of one brightness in opposite corners, and their labels."""
    label = np.zeros((32, 32), int)
    flip = rng.integers(2)
    for value, centre in ((1, (9, 9)), (2, (22, 22))):
        row, column = centre + rng.integers(-2, 3, 2)
        place = (row, 31 - column if flip else column)
        label[shape_of(rng.choice(kinds), place, rng.integers(4, 7))] = value
    return label, (label > 0) * 2 + rng.normal(0, 0.4, label.shape)


def make(rng, size, kinds=("disc", "square"), task=TASK):
    labels, images = zip(*[draw(rng, kinds) for _ in range(size)])
    image = torch.tensor(np.stack(images)[:, None], dtype=torch.float32)
    return Batch(
        image=image,
        present=torch.ones_like(image).bool(),
        label=torch.from_numpy(task.encode(np.stack(labels))).movedim(0, 1).float(),
        weight=torch.ones_like(image),
        labeled=torch.ones(size).bool(),
        annotated=torch.ones(size, task.outputs).bool(),
        domain=torch.zeros(size).long(),
        prompts=Prompts.none(image),
    )


def built(network, options="", task=TASK):
    torch.manual_seed(0)
    kind = registry.load("methods", "clicks")
    net = registry.build("networks", network, kind.pretext(task))
    loss = registry.build("losses", "dice_ce", exclusive=True)
    return registry.build("methods", f"clicks:{options}", net, task, loss)


class Shown:
    """The least that a session is: clicks on one image, and the mask they give."""

    def __init__(self, network, batch):
        self.network, self.batch, self.clicks = network, batch, []
        self.pyramid, self.share = network.encode(batch), None

    def click(self, *place, foreground=True):
        self.clicks.append((np.array(place), foreground))
        self.batch = asked(self.batch, [self.clicks], [[]], self.share)
        self.share = self.network.decode(self.pyramid, self.batch)[0].softmax(1)[:, 1:]

    @property
    def mask(self):
        empty = np.zeros((32, 32), bool)
        return empty if self.share is None else np.asarray(self.share[0, 0] > 0.5)


@torch.no_grad()
def curves(network, kinds, count=12, task=TASK):
    rng, network = np.random.default_rng(1), network.eval()
    rows = []
    for turn in range(count):
        batch = make(rng, 1, kinds, task)
        truth = np.asarray(batch.label[0, -1 - turn % 2] > 0.5)
        rows.append(dice_curve(Shown(network, batch), truth, 4))
    return np.mean(rows, axis=0)


def train(method, steps, rate, size=8, task=TASK):
    optimiser = torch.optim.AdamW(method.network.parameters(), lr=rate)
    rng = np.random.default_rng(0)
    method.train()
    for step in range(steps):
        for group in optimiser.param_groups:
            group["lr"] = rate * (1 - step / steps)
        optimiser.zero_grad()
        method.losses(make(rng, size, task=task), step)["clicks"].backward()
        torch.nn.utils.clip_grad_norm_(method.network.parameters(), 12)
        optimiser.step()
    return method.network


@pytest.mark.parametrize(("network", "steps", "rate"), [(FCN, 60, 4e-3), (SAM, 140, 3e-3)])
def test_a_click_picks_its_object_also_of_a_shape_never_seen(network, steps, rate):
    learnt = train(built(network), steps, rate)
    for kinds in (["disc", "square"], ["diamond"]):
        curve = curves(learnt, kinds)
        assert curve.min() > 0.8  # one object of two alike: taking both gives 0.67


def test_more_clicks_say_what_one_leaves_open():
    """One click means an object or both; the second one tells."""
    regions = {"first": ("first",), "both": ("first", "second")}
    task = replace(TASK, regions=regions)
    learnt = train(built(FCN, task=task), 150, 3e-3, task=task)
    curve = curves(learnt, ["disc", "square"], task=task)
    assert curve[1] > curve[0] + 0.05
    assert curve[-1] > 0.85


class Kept(Loss):
    """A loss that keeps the targets it was given."""

    def __init__(self):
        super().__init__()
        self.targets = []

    def forward(self, logits, target, weight):
        self.targets.append(target)
        return logits.sum()


def spied(method, monkeypatch):
    """Batches that the network is trained on."""
    seen = []
    forward = method.network.forward
    monkeypatch.setattr(
        method.network, "forward", lambda batch: seen.append(batch) or forward(batch)
    )
    return seen


def test_the_target_is_one_region_clicked_inside_first(monkeypatch):
    method = built(FCN, "rounds=0,automatic=0")
    seen, batch = spied(method, monkeypatch), make(np.random.default_rng(0), 32)
    method.losses(batch, 0)
    points, kinds = seen[0].prompts.points.long(), seen[0].prompts.foreground
    assert points.shape == (32, 1, 2)
    assert (kinds == 1).all()
    hit = torch.stack([row[:, p[0, 0], p[0, 1]] for row, p in zip(batch.label, points)])
    assert (hit[:, 0] == 0).all()
    assert 8 < int(hit[:, 1].sum()) < 24  # both regions have their turn


def test_rounds_add_clicks_where_the_network_is_wrong_and_keep_its_mode(monkeypatch):
    method = built(SAM, "rounds=6,automatic=0").train()
    seen, batch = spied(method, monkeypatch), make(np.random.default_rng(0), 8)
    torch.manual_seed(3)
    for step in range(12):
        method.losses(batch, step)
    assert method.network.training
    counts = {one.prompts.points.shape[1] for one in seen}
    assert max(counts) > 4
    assert any(one.prompts.mask.shape[1] for one in seen)
    assert {bool(one.prompts.boxes.shape[1]) for one in seen} <= {True, False}
    kinds = torch.cat([one.prompts.foreground.flatten() for one in seen])
    assert set(kinds.tolist()) == {-1.0, 0.0, 1.0}


@pytest.mark.parametrize("options", ["automatic=1", "automatic=0"])
def test_without_a_prompt_everything_labelled_is_the_target(options, monkeypatch):
    method = built(FCN, options)
    seen, batch = spied(method, monkeypatch), make(np.random.default_rng(0), 4)
    if options == "automatic=0":  # nothing is in the patch, so nothing can be pointed at
        batch = batch.but(label=torch.cat([torch.ones_like(batch.label[:, :1]),
                                           torch.zeros_like(batch.label[:, 1:])], 1))  # fmt: skip
    method.loss = Kept()
    method.losses(batch, 0)
    assert not seen[0].prompts.points.shape[1]
    assert torch.equal(method.loss.targets[0][:, 1], batch.label[:, 1:].amax(1))


def test_what_is_not_labelled_or_not_looked_for_teaches_nothing():
    method = built(FCN, "automatic=1")
    batch = make(np.random.default_rng(0), 2)
    partly = batch.annotated.clone()
    partly[0, 1] = False
    for blind in (
        batch.but(labeled=torch.tensor([False, True])),
        batch.but(annotated=partly),
    ):
        lies = blind.label.clone()
        lies[0] = 1 - lies[0]
        totals = []
        for label in (blind.label, lies):
            torch.manual_seed(0)
            totals.append(method.losses(blind.but(label=label), 0)["clicks"])
        assert torch.equal(*totals)


def test_connected_targets_are_one_piece():
    task = replace(TASK, regions={"both": ("first", "second")})
    method = built(FCN, "connected=true,automatic=0,rounds=0", task=task)
    method.loss = Kept()
    batch = make(np.random.default_rng(0), 8, task=task)
    method.losses(batch, 0)
    assert (method.loss.targets[0][:, 1].sum((1, 2)) < batch.label[:, 0].sum((1, 2))).all()


def test_shares_out_of_bounds_are_refused():
    with pytest.raises(BadOption, match="automatic share from 0 to 1"):
        built(FCN, "automatic=2")
