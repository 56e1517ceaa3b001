"""Networks and methods together, through the one loop: what fits runs, what does not says why."""

import json
import random
from pathlib import Path

import pytest
import torch

from oncoseg import registry
from oncoseg.errors import BadRun
from oncoseg.model import save_model
from oncoseg.prepare import Plan, open_store, prepare
from oncoseg.run import Run
from oncoseg.train import hidden
from oncoseg.train.loop import Loop
from runs import toy_data
from worlds import METHODS, NETWORKS

DATA = {"labeled", "unlabeled", "start"}
KINDS = ("unet", "multimodal_unetr", "sam_decoder")  # convolutions, a transformer, prompts
REFUSED = {  # what is seen once they are built
    (
        "interactive_fcn",
        "spark",
    ): "^spark .* in InteractiveFcn nothing",  # encode hands on the image
    ("multilevel_activation", "freetumor"): "does not lie within",  # what changed lies in all
}
SAMPLED, SEED = 8, 20261121


def fits(network, method):
    """Whether the network gives all that the method needs, and the method uses what it is for."""
    needs, found = set(registry.entry("methods", method).needs), registry.entry("networks", network)
    return needs - DATA <= set(found.gives) and (not found.only or bool(needs & set(found.only)))


def pairs():
    """Every network with plain supervision, every method with a network of each kind, and some."""
    networks, methods = registry.names("networks"), registry.names("methods")
    chosen = {(network, "supervised") for network in networks}
    chosen |= {(network, method) for network in KINDS if network in networks for method in methods}
    for method in methods:  # at least one that fits
        chosen.add((next(name for name in ["unet", *networks] if fits(name, method)), method))
    rest = sorted({(n, m) for n in networks for m in methods if fits(n, m)} - chosen)
    return sorted(chosen) + random.Random(SEED).sample(rest, min(SAMPLED, len(rest)))


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """Six prepared cases of a toy world in 2-D."""
    folder = tmp_path_factory.mktemp("pairs")
    task, _ = toy_data(folder / "data", 3, 6, dims=2, size=32, modalities=("a",))
    prepare(folder / "data", folder / "store", labels=task.labels, regions=task.regions)
    return folder / "store"


@pytest.fixture(scope="module")
def helper(store):
    """A model file for parts that work with a second, trained network."""
    plan = Plan.read(store / "plan.json")
    network = registry.build("networks", "unet:width=4", plan.task)
    return save_model(store.parent / "helper.onco", network, "unet:width=4", plan, {}, "none")


def spelled(method, helper):
    """A method as on the command line, with the model it works with where it takes one."""
    options = registry.entry("methods", method).options
    text = METHODS.get(method, method).partition(":")[2]
    pieces = [piece for piece in text.split(",") if piece and not piece.startswith("model=")]
    if any(option.name == "model" for option in options):
        pieces.append(f"model={helper}")
    return f"{method}:{','.join(pieces)}"


@pytest.mark.parametrize(("network", "method"), pairs(), ids=lambda value: value)
def test_a_pair_runs_or_says_what_is_missing(network, method, store, helper, tmp_path):
    run = Run(
        data=str(store),
        to=str(tmp_path / "model.onco"),
        network=NETWORKS.get(network, network),
        method=spelled(method, helper),
        augmentations=("spatial", "modality_dropout"),
        steps=2,
        minutes=0,
        batch=2,
        workers=1,
        device="cpu",
        precision="f32",
        start="before.onco",
    )
    if not fits(network, method):
        with pytest.raises(
            BadRun, match=f"{network} .*{method}|{method} needs .*{network}"
        ) as said:
            run.check()
        assert "there are" in str(said.value) or "train it with" in str(said.value)
        return
    run.check()
    torch.set_num_threads(1)
    plan = Plan.read(store / "plan.json")
    cases = hidden(open_store(store), 3, seed=0)
    if (network, method) in REFUSED:
        with pytest.raises(BadRun, match=REFUSED[network, method]):
            Loop(Run(**{**vars(run), "start": ""}), plan, cases, [])
        return
    loop = Loop(Run(**{**vars(run), "start": ""}), plan, cases, [])
    loop()
    lines = Path(run.folder / "metrics.jsonl").read_text().splitlines()
    assert json.loads(lines[-1])["step"] == 2
    assert (run.folder / "last.safetensors").exists()


def test_a_method_that_adapts_a_model_asks_for_it(tmp_path):
    for method in registry.names("methods"):
        if "start" in registry.entry("methods", method).needs:
            with pytest.raises(BadRun, match=f"{method} goes on from a trained model; name it"):
                Run(str(tmp_path), str(tmp_path / "m.onco"), method=method).check()
