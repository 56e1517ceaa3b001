"""Self-guided attention: what its losses weigh, and when they are nothing."""

import pytest
import torch

from oncoseg import registry
from oncoseg.methods.self_guided import squares
from worlds import NETWORKS, build_method, classes_task, make_batch


def method(**options):
    text = ",".join(f"{name}={value}" for name, value in options.items())
    task = classes_task(2, 32)
    network = registry.build("networks", NETWORKS["msga"], task)
    loss = registry.build("losses", "dice_ce", exclusive=True)
    return registry.build("methods", f"self_guided:{text}", network, task, loss)


def test_losses_are_nothing_where_both_say_the_same():
    torch.manual_seed(0)
    pairs = [(torch.randn(2, 3, 4), torch.randn(2, 3, 4)) for _ in range(2)]
    expected = sum(float((one - other).square().mean()) for one, other in pairs)
    assert float(squares(pairs)) == pytest.approx(expected)
    assert squares([(one, one) for one, _ in pairs]) == 0


def test_all_maps_count_alike_and_guides_by_their_weights():
    torch.manual_seed(0)
    whole, batch = method(vectors=0.25, copies=0.1).train(), make_batch(classes_task(2, 32))
    with torch.no_grad():
        maps, guides = whole.network.guided(whole.network.encode(batch), batch)
        losses = whole.losses(batch, 0)
        each = [float(whole.loss(level, batch.label, batch.weight)) for level in maps]
    assert len(each) == 8
    assert float(losses["segmentation"]) == pytest.approx(sum(each), rel=1e-5)
    assert float(losses["vectors"]) == pytest.approx(0.25 * float(squares(guides.pairs)), rel=1e-5)
    assert float(losses["copies"]) == pytest.approx(0.1 * float(squares(guides.copies)), rel=1e-5)


def test_items_without_a_label_count_in_the_guides_alone():
    torch.manual_seed(0)
    built = build_method("self_guided", classes_task(2, 32)).train()
    batch = make_batch(classes_task(2, 32))
    losses = built.losses(batch.but(labeled=torch.zeros_like(batch.labeled)), 0)
    assert losses["segmentation"] == 0
    assert losses["vectors"] > 0
    assert losses["copies"] > 0
