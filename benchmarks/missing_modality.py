"""How well a patient is segmented when scans are missing, and what masked pretraining adds.

    python benchmarks/missing_modality.py subsets ../shared/data/brats2021 --to /tmp/missing
    python benchmarks/missing_modality.py pretraining ../shared/data/brats2021 --to /tmp/missing

`subsets`: networks trained equally long on all patients but the last, with modality dropout; Dice
of that one for each of the 15 subsets of its four scans. `pretraining`: BM-MAE on the training
patients without their labels, then as many supervised steps from it as from scratch, for some
seeds; Dice of the last patient for five subsets and their mean. At 2 mm, in patches of
48 voxels. One patient is an example, not evidence.
"""

import argparse
import json
import time
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import torch

from oncoseg.evaluate import evaluate
from oncoseg.model import save_model
from oncoseg.predict.engines import network_engine
from oncoseg.predict.window import slide
from oncoseg.prepare import Plan, define_task, fingerprint, held_out, open_store, prepare
from oncoseg.prepare.plan import make_plan
from oncoseg.read import find
from oncoseg.run import Run
from oncoseg.train.loop import Loop, kept

NETWORKS = ["hemis:width=8", "unet:width=8"]
TOKENS = "multimodal_unetr:patch=8,width=96,depth=6,heads=6,features=8"
MAIN = ("t1+t1ce+t2+flair", "t1ce+flair", "flair", "t1ce", "t1")


def store_of(data, to):
    """The cases at 2 mm, prepared once."""
    store = to / "store"
    if not (store / "plan.json").exists():
        found = find(data)
        task = define_task(data, found.sources, found.description)
        plan = make_plan(task, fingerprint(found.sources, task))
        coarse = replace(plan.task, spacing=(2.0,) * 3, patch=(48,) * 3, strides=((2, 2, 2),) * 3)
        plan = replace(plan, task=coarse)
        to.mkdir(parents=True, exist_ok=True)
        prepare(data, store, plan=plan.write(to / "plan.json"))
    return store


def trained(store, to, name, held, **options):
    """A network trained on all patients but `held`, and the seconds it took; saved as a model."""
    run = Run(
        str(store),
        str(to / f"{name}.onco"),
        minutes=0,
        batch=2,
        device="cpu",
        precision="f32",
        hold=(held,),
        **options,
    )
    run.check()
    run.folder.mkdir(parents=True, exist_ok=True)
    (run.folder / "metrics.jsonl").unlink(missing_ok=True)
    plan = Plan.read(store / "plan.json")
    training, _ = held_out(open_store(store), 1, 0, run.hold)
    loop = Loop(run, plan, training, [])
    loop()
    network = kept(loop.average).eval()
    save_model(Path(run.to), network, run.network, replace(plan, task=loop.trained), {}, "none")
    return network, round(loop.progress.seconds, 1)


def dice_of(network, case, task, wanted=()):
    """Subset -> region -> Dice of one patient; only the subsets `wanted`, if any are named."""
    infer = network_engine(network, "cpu")
    image, present = case.read("image").astype(np.float32), case.read("present")
    truth = task.decode(case.read("label") / np.float32(127.5) - 1)
    rows = {}
    for count in range(len(task.modalities), 0, -1):
        for chosen in combinations(task.modalities, count):
            if wanted and "+".join(chosen) not in wanted:
                continue
            keep = np.array([name in chosen for name in task.modalities])[:, None, None, None]
            logits = slide(infer, image * keep, present & keep, task.patch, overlap=0)
            found = evaluate(task.decode(logits), truth, regions=task, metrics=("dice",)).means
            dice = {region: round(float(each["dice"]), 3) for region, each in found.items()}
            rows["+".join(chosen)] = dice
    return rows


def summary(rows):
    """Mean Dice a region over the subsets, and that of five of them."""
    regions = next(iter(rows.values()))
    mean = {
        name: round(float(np.mean([row[name] for row in rows.values()])), 3) for name in regions
    }
    return {"mean": mean, **{name: rows[name] for name in MAIN if name in rows}}


def subsets(store, to, case, task, words):
    """Each network's Dice by subset."""
    found = {}
    for place, spelled in enumerate(words.networks):
        network, seconds = trained(
            store, to, f"subsets_{place}", case.patient, network=spelled, steps=words.steps
        )
        rows = dice_of(network, case, task)
        found[spelled] = {"seconds": seconds, **summary(rows), "all": rows}
    return found


def pretraining(store, to, case, task, words):
    """Dice with and without pretraining, a seed each."""
    _, seconds = trained(
        store,
        to,
        "pretrained",
        case.patient,
        network=TOKENS,
        method="bm_mae",
        steps=words.pretrain,
        augmentations=("spatial",),
    )
    lines = (to / "pretrained.run" / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    losses = [json.loads(line)["loss"]["reconstruction"] for line in lines]
    found = {"pretraining": {"seconds": seconds, "losses": [round(loss, 3) for loss in losses]}}
    for seed in range(words.seeds):
        for kind, start in (("scratch", ""), ("pretrained", str(to / "pretrained.onco"))):
            network, seconds = trained(
                store,
                to,
                f"{kind}_{seed}",
                case.patient,
                network=TOKENS,
                steps=words.steps,
                seed=seed,
                start=start,
            )
            rows = dice_of(network, case, task, MAIN)
            found[f"{kind}, seed {seed}"] = {"seconds": seconds, **summary(rows)}
    return found


def main():
    """Train, test, print JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("subsets", "pretraining"))
    parser.add_argument("data", type=Path)
    parser.add_argument("--to", type=Path, required=True, help="a scratch folder")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--pretrain", type=int, default=300, help="steps of masked pretraining")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--networks", nargs="+", default=NETWORKS, help="those of `subsets`")
    parser.add_argument("--threads", type=int, default=2)
    words = parser.parse_args()
    torch.set_num_threads(words.threads)
    store = store_of(words.data, words.to)
    task = Plan.read(store / "plan.json").task
    case = open_store(store)[-1]
    began = time.perf_counter()
    work = {"subsets": subsets, "pretraining": pretraining}[words.what]
    found = work(store, words.to, case, task, words)
    head = {"held out": case.id, "steps": words.steps, "torch": torch.__version__}
    print(json.dumps({**head, **found, "total_s": round(time.perf_counter() - began)}, indent=1))


if __name__ == "__main__":
    main()
