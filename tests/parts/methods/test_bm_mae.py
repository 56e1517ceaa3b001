"""BM-MAE: an exact number of visible tokens, drawn evenly; modalities rebuilt from others."""

from dataclasses import replace

import pytest
import torch

from oncoseg import registry
from oncoseg.blocks.masked_tokens import draw_visible, visible_count
from oncoseg.blocks.vit import patchify
from oncoseg.errors import BadOption
from oncoseg.model import open_model, save_model
from oncoseg.prepare import Plan
from oncoseg.prepare.plan import Normalisation
from worlds import classes_task, make_batch, regions_task

NETWORK = "multimodal_unetr:patch=4,width=48,depth=2,heads=4,features=4"
TASK = replace(classes_task(2, 16), modalities=("t1", "t2"))


def built(task=TASK, spelled="bm_mae:width=48,depth=1,heads=4", network=NETWORK):
    torch.manual_seed(0)
    kind = registry.load("methods", "bm_mae")
    trained = kind.pretext(task)
    loss = registry.build("losses", "dice_ce", exclusive=trained.exclusive)
    return registry.build(
        "methods", spelled, registry.build("networks", network, trained), task, loss
    )


@pytest.mark.parametrize("masked", [0.25, 0.5, 0.75, 0.9])
def test_the_number_of_visible_tokens_is_exact_whatever_is_there(masked):
    torch.manual_seed(0)
    there = torch.rand(50, 4, 16) < 0.8
    there[0, 1:], there[1, :3], there[2], there[3, 2:] = False, False, False, False
    there[2, 1, 5] = True
    visible = draw_visible(there, masked)
    assert not (visible & ~there).any()
    percent = round(100 * (1 - masked))
    counts = [max(1, int(own.sum()) * percent // 100) for own in there]
    assert visible.sum((1, 2)).tolist() == counts
    assert not draw_visible(torch.zeros(1, 2, 3).bool(), masked).any()
    assert visible_count(10, 0.7) == 3  # not 2, as floating point would have it


def test_shares_are_those_of_a_flat_dirichlet():
    torch.manual_seed(0)
    there = torch.ones(2000, 4, 64).bool()
    shares = draw_visible(there, 0.75).sum(2) / 64
    error = (3 / 80 / 2000) ** 0.5  # variance (M - 1) / (M^2 (M + 1))
    assert (shares.mean(0) - 0.25).abs().max() < 4 * error
    assert (shares.var(0) - 3 / 80).abs().max() < 0.005
    first = draw_visible(there, 0.75).float().mean((0, 1))
    assert (first - 0.25).abs().max() < 0.05  # no place is preferred


def test_no_modality_is_asked_for_more_than_it_has():
    torch.manual_seed(0)
    there = torch.ones(200, 4, 8).bool()
    visible = draw_visible(there, 0.1)  # 28 of 32: most draws do not fit
    assert visible.sum((1, 2)).eq(28).all()


def test_only_masked_voxels_that_are_present_teach(monkeypatch):
    method, batch = built(), make_batch(TASK)
    present = batch.present.clone()
    present[0, 1], present[1, 0, :6] = False, False
    batch = batch.but(present=present)
    seen = {}

    def watched(*given):
        seen["visible"], seen["answer"] = given[2], real(*given)
        seen["answer"].retain_grad()
        return seen["answer"]

    real = method.reconstruct
    monkeypatch.setattr(method, "reconstruct", watched)
    loss = method.losses(batch, 0)["reconstruction"]
    loss.backward()
    counted = patchify(present, 4) & ~seen["visible"].unsqueeze(-1)
    assert torch.equal(seen["answer"].grad != 0, counted)
    error = (seen["answer"] - patchify(batch.image, 4)).square()
    expected = sum(error[:, m][counted[:, m]].mean() for m in range(2)) / 2
    assert torch.allclose(loss, expected)


def test_what_is_hidden_is_never_read():
    method, batch = built().eval(), make_batch(TASK)
    image, _, tokens, there = method.embedded(batch)
    visible = draw_visible(there, 0.75)
    before = method.reconstruct(tokens, there, visible, image.shape[2:])
    changed = tokens.masked_fill(~visible.unsqueeze(-1), 1e3)
    assert torch.equal(method.reconstruct(changed, there, visible, image.shape[2:]), before)
    changed = tokens.masked_fill(visible.unsqueeze(-1), 0.5)
    assert not torch.equal(method.reconstruct(changed, there, visible, image.shape[2:]), before)


def linked(seed):
    """Smooth images whose second modality is a line through the first."""
    batch = make_batch(TASK, size=16, seed=seed)
    coarse = torch.randn(16, 1, 2, 2, generator=torch.Generator().manual_seed(seed))
    first = torch.nn.functional.interpolate(coarse, size=(16, 16), mode="bilinear")
    return batch.but(image=torch.cat([first, 0.3 - 1.2 * first], dim=1))


def test_a_hidden_modality_is_rebuilt_from_the_other():
    method = built(spelled="bm_mae:masked=0.5,width=48,depth=1,heads=4")
    parameters = [value for part in method.trained for value in part.parameters()]
    optimiser = torch.optim.Adam(parameters, lr=3e-3)
    for step in range(200):
        optimiser.zero_grad()
        method.losses(linked(step), step)["reconstruction"].backward()
        optimiser.step()
    fresh = linked(10_000)
    with torch.no_grad():
        image, _, tokens, there = method.eval().embedded(fresh)
        visible = there.clone()
        visible[:, 1] = False
        rebuilt = method.reconstruct(tokens, there, visible, image.shape[2:])[:, 1]
    truth = patchify(image, 4)[:, 1]
    assert torch.corrcoef(torch.stack([rebuilt.flatten(), truth.flatten()]))[0, 1] > 0.5


def test_its_transformer_starts_a_segmentation_of_other_modalities(tmp_path):
    old = regions_task(2, 16, modalities=("t1", "t2"))
    network = built(old).result
    plan = Plan(
        replace(old, labels={"untrained": 1}, regions={"untrained": ("untrained",)}),
        {name: Normalisation() for name in old.modalities},
    )
    path = save_model(tmp_path / "pre.onco", network, NETWORK, plan, {}, "none")
    task = regions_task(2, 16, modalities=("flair", "t2", "t1ce"))
    new = registry.build("networks", NETWORK, task)
    fresh = open_model(path).start(new, task).initialised
    assert {name.split(".")[2] for name in fresh if "embeddings" in name} == {"of_flair", "of_t1ce"}
    assert {name.split(".")[0] for name in fresh} == {"tokens", "stems", "head"}
    kept, was = new.tokens.state_dict(), network.tokens.state_dict()
    assert all(torch.equal(kept[name], was[name]) for name in was.keys() & kept.keys())


def test_a_patch_of_one_token_is_refused():
    with pytest.raises(BadOption, match=r"cannot mask 0.75 of 1 tokens.* patch of 16x16 larger"):
        built(classes_task(2, 16), "bm_mae", "multimodal_unetr:features=4")


def test_what_it_keeps_says_that_it_segments_nothing():
    trained = registry.load("methods", "bm_mae").pretext(TASK)
    assert list(trained.regions) == ["untrained"]
    assert trained.modalities == TASK.modalities
