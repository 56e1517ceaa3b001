"""The records: what belongs to an item of a batch goes with it."""

import pytest

torch = pytest.importorskip("torch")

from dataclasses import replace  # noqa: E402

from oncoseg.case import Batch, Prompts  # noqa: E402


def batch(count=4):
    image = torch.arange(count, dtype=torch.float32).reshape(count, 1, 1, 1).expand(-1, 1, 4, 4)
    one = torch.ones(count, dtype=torch.bool)
    prompts = replace(Prompts.none(image), text=tuple(f"phrase {n}" for n in range(count)))
    return Batch(image, image > -1, image, image, one, one[:, None], one.long(), prompts)


@pytest.mark.parametrize(
    "index",
    [
        slice(1, 3),
        torch.tensor([False, True, True, False]),
        torch.tensor([1, 2]),
        [1, 2],
    ],
    ids=["slice", "mask", "indices", "list"],
)
def test_phrases_go_with_their_items(index):
    chosen = batch()[index]
    assert chosen.prompts.text == ("phrase 1", "phrase 2")
    assert chosen.image[:, 0, 0, 0].tolist() == [1.0, 2.0]


def test_a_batch_without_phrases_has_none_after_indexing():
    silent = batch()
    silent = silent.but(prompts=replace(silent.prompts, text=()))
    assert silent[torch.tensor([0, 3])].prompts.text == ()
