"""Make the shipped model `glioma` again, and its cross-validation.

    python models/glioma.py DATA --to WORK

DATA is the folder of BraTS 2021 cases. In WORK: `store` (prepared real cases and phantoms, 2 mm),
`pretrained.onco` (phantoms alone), a model for each held-out patient, `glioma.onco` (all four), and
`crossvalidation.json`: Dice of each real case, predicted on its own 1 mm grid by the model that
never saw it, from every subset of the sequences. Finished steps are not
repeated, so the script can be stopped and started.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from oncoseg import files, phantom
from oncoseg.model import open_model
from oncoseg.predict import segment
from oncoseg.predict.engines import engine
from oncoseg.prepare import Plan, align, open_store, prepare
from oncoseg.prepare.store import write
from oncoseg.read import find, read_case
from oncoseg.run import Run
from oncoseg.train import train
from oncoseg.train.validation import dice_of, partial

NETWORK = "unet:width=16,limit=192"
SPACING, PATCH, STRIDES = (2.0, 2.0, 2.0), (64, 80, 64), ((2, 2, 2),) * 4
AUGMENTATIONS = ("tumour_synthesis:probability=0.35", "spatial", "intensity", "modality_dropout")
CARD = Path(__file__).with_name("glioma.json")


def main() -> None:
    """Read the words and do every step that is not done."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--to", type=Path, required=True)
    parser.add_argument("--phantoms", type=int, default=160)
    parser.add_argument("--pretrain", type=float, default=11, help="minutes on phantoms")
    parser.add_argument("--finetune", type=float, default=4.5, help="minutes for each model")
    words = parser.parse_args()
    store = make_store(words.data, words.to / "store", words.phantoms)
    real = sorted(source.patient for source in find(words.data).sources)
    shared = Run(
        data=str(store), to="", network=NETWORK, batch=2, balanced=True, device="cpu", average=0.995
    )
    start = words.to / "pretrained.onco"
    once(
        replace(
            shared,
            to=str(start),
            hold=tuple(real),
            minutes=words.pretrain,
            rate=2e-3,
            augmentations=AUGMENTATIONS[1:],
        )
    )
    tuned = replace(
        shared, start=str(start), minutes=words.finetune, rate=1e-3, augmentations=AUGMENTATIONS
    )
    for patient in real:
        once(replace(tuned, to=str(words.to / f"without_{patient}.onco"), hold=(patient,)))
    card = words.to / "card.json"
    if not card.exists():
        figures = crossvalidate(words.data, words.to)
        files.write_json(card, {**files.read_json(CARD), **figures})
    once(replace(tuned, to=str(words.to / "glioma.onco"), name="glioma", card=str(card)))


def once(run: Run) -> None:
    """Train unless the model is there; go on where a run was stopped."""
    if not Path(run.to).exists():
        train(run, resume=True)


def make_store(data: Path, store: Path, phantoms: int) -> Path:
    """Real cases and phantoms on one 2 mm plan; phantoms are a site of their own."""
    if not (store / "plan.json").exists():
        first = store.with_name("plan.json")
        prepare(data, store.with_name("native"))
        native = Plan.read(store.with_name("native") / "plan.json")
        task = replace(native.task, name="glioma", spacing=SPACING, patch=PATCH, strides=STRIDES)
        replace(native, task=task, batch=2).write(first)
        prepare(data, store, plan=first)
    plan = Plan.read(store / "plan.json")
    done = {case.id for case in open_store(store)}
    for seed in range(phantoms):
        name = f"phantom_{10_000 + seed:04d}"
        if name in done:
            continue
        kind = "random" if seed % 3 == 0 else "typical"
        case = phantom.patient(10_000 + seed, shape=(88, 104, 80), spacing=SPACING, contrast=kind)
        record = {"case": name, "patient": name, "site": "phantom"}
        write(store / name, align(case, plan), plan.task, record, seed)
    return store


def crossvalidate(data: Path, folder: Path) -> dict[str, Any]:
    """Score every held-out case with every subset named above; returns what the card says of it."""
    rows = {}
    for source in find(data).sources:
        model = open_model(folder / f"without_{source.patient}.onco")
        infer = engine(model, "openvino")
        case = read_case(source, labels=model.task.labels)
        every = model.task.modalities
        for kept in (every, *partial(every)):
            part = replace(case, images={key: case.images[key] for key in kept})
            found = dice_of(part, segment(part, model.plan, infer).label, model.task)
            rows.setdefault("+".join(kept), {})[case.id] = found
    mean = {
        name: {
            region: round(float(np.mean([row[region] for row in cases.values()])), 3)
            for region in model.task.regions
        }
        for name, cases in rows.items()
    }
    files.write_json(folder / "crossvalidation.json", {"mean": mean, "cases": rows})
    print(json.dumps(mean, indent=1))
    words = "Dice of {} over 4 held-out patients, all sequences: {}"
    complete = next(iter(mean.values()))
    regions = ", ".join(complete)
    values = ", ".join(f"{value:.2f}" for value in complete.values())
    return {"crossvalidated": words.format(regions, values), "dice_by_modalities": mean}


if __name__ == "__main__":
    main()
