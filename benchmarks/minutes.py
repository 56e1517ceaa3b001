"""Dice after so many minutes of training, ours and nnU-Net's, on the same cases.

    python benchmarks/minutes.py DATA --to W --minutes 1 3 10 30
    python benchmarks/minutes.py DATA --to W --minutes 10 --nnunet NNUNET_PYTHON
    python benchmarks/minutes.py DATA --to W --nnunet NNUNET_PYTHON --patches 4000
    python benchmarks/minutes.py DATA --to W --minutes 10 -- --labels anterior=1,posterior=2

What stands behind `--` goes to `oncoseg train`. The first fold of five is held out, or `--fold N`:
give each fold a folder of its own. Ours trains on all cases and is also asked for each subset of
their modalities. nnU-Net is
given the same cases in its own layout (those with every modality, brought to the grid of the label
map), prepared by its own commands, and its own trainer, but that the rate falls by the clock and
not by epochs, so that it uses the minutes as it would use its thousand epochs: one training of so
many minutes or so many patches, then its own prediction, mirrored as is its default. Minutes count
training alone, for both. `--seed` is ours; nnU-Net draws as it will. Prints a line of JSON a
training, in W/minutes.jsonl; one that is there is not repeated, so the same command goes on where
it was stopped. Linux or macOS.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

NUMBER = "501"
PLACES = {"raw": "raw", "preprocessed": "pre", "results": "res"}


def ours(data, to, minutes, given, fold, seed):
    """Train for so long; Dice of the held-out cases by region."""
    model = to / f"ours_{minutes:g}_{seed}.onco"
    words = ["train", data, "--to", model, "--folds", "5", "--fold", fold, "--seed", seed]
    words += ["--minutes", minutes, "--resume", *given]
    subprocess.run([sys.executable, "-m", "oncoseg", *map(str, words)], check=True)
    run = model.with_suffix(".run")
    last = json.loads((run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()[-1])
    plan = json.loads((run / "prepared" / "plan.json").read_text(encoding="utf-8"))
    found = json.loads((run / "validation.json").read_text(encoding="utf-8"))
    said = {"steps": last["step"], "patch": plan["task"]["patch"], "dice": found["dice"]}
    return {**said, "cases": len(found["cases"]), "subsets": found["by_modalities"]}


def solid(grid):
    """A grid in three dimensions: nnU-Net's way to say that a scan is a picture."""
    from oncoseg import Grid  # noqa: PLC0415

    if len(grid.shape) > 2:
        return grid
    affine = np.eye(4)
    affine[:2, :2] = grid.affine[:2, :2]
    return Grid((*grid.shape, 1), affine)


def flat(folder, task):
    """Predictions of pictures as pictures."""
    from oncoseg import Grid  # noqa: PLC0415
    from oncoseg.read import read_volume  # noqa: PLC0415
    from oncoseg.write import write_volume  # noqa: PLC0415

    for path in folder.glob("*.nii.gz") if task.dims == 2 else ():
        label = read_volume(path).array[..., 0].astype(np.uint8)
        write_volume(
            path.with_name(path.name.replace(".nii.gz", ".png")),
            label,
            Grid(label.shape, np.eye(3)),
        )
        path.unlink()


def layout(data, to):
    """The same cases as nnU-Net has them, and its preparation; the held-out cases."""
    from oncoseg.prepare.align import resample  # noqa: PLC0415
    from oncoseg.prepare.plan import Plan  # noqa: PLC0415
    from oncoseg.read import find, read_case  # noqa: PLC0415
    from oncoseg.write import write_volume  # noqa: PLC0415

    run = next(to.glob("ours_*.run"))
    held = json.loads((run / "held_out.json").read_text(encoding="utf-8"))
    task, raw = Plan.read(run / "prepared" / "plan.json").task, to / "raw" / f"Dataset{NUMBER}_Same"
    if (raw / "dataset.json").exists():
        return raw, task, held
    there = []
    for source in find(data).sources:
        case = read_case(source, modalities=task.modalities, labels=task.labels)
        if len(case.images) < len(task.modalities) or not case.labels:
            continue
        grid, label = case.drawn.grid, case.drawn.array
        thick = solid(grid)
        for place, name in enumerate(task.modalities):
            image = case.images[name]
            values = resample(image.array.astype(np.float32), image.grid, grid)
            path = raw / "imagesTr" / f"{case.id}_{place:04d}.nii.gz"
            write_volume(path, values.reshape(thick.shape), thick)
        label = label.astype(np.uint8).reshape(thick.shape)
        write_volume(raw / "labelsTr" / f"{case.id}.nii.gz", label, thick)
        there.append(case.id)
    said = {
        "channel_names": {str(place): name for place, name in enumerate(task.modalities)},
        "labels": {"background": 0, **task.labels},
        "numTraining": len(there),
        "file_ending": ".nii.gz",
    }
    held = [case for case in held if case in there]
    split = [{"train": [case for case in there if case not in held], "val": held}]
    (raw / "splits_final.json").write_text(json.dumps(split), encoding="utf-8")
    (raw / "dataset.json").write_text(json.dumps(said), encoding="utf-8")
    return raw, task, held


def theirs(data, to, python, bound):
    """nnU-Net in its own interpreter: `bound` is {"minutes": n} or {"patches": n}."""
    from oncoseg.evaluate import evaluate  # noqa: PLC0415

    raw, task, held = layout(data, to)
    kind = "2d" if task.dims == 2 else "3d_fullres"
    places = {f"nnUNet_{name}": str(to / end) for name, end in PLACES.items()}
    environment = {**os.environ, **places, "nnUNet_n_proc_DA": "2"}
    if not (to / "pre" / raw.name / "nnUNetPlans.json").exists():
        command = Path(python).with_name("nnUNetv2_plan_and_preprocess")
        words = [command, "-d", NUMBER, "-c", kind]
        subprocess.run(words, env=environment, check=True, stdout=sys.stderr)
    name = "_".join(f"{value:g}_{key}" for key, value in bound.items())
    found = to / f"nnunet_{name}"
    order = {"raw": str(raw), "pre": str(to / "pre" / raw.name), "to": str(found), "kind": kind}
    words = [python, __file__, "--child", json.dumps({**order, **bound})]
    done = subprocess.run(words, env=environment, check=True, stdout=subprocess.PIPE, text=True)
    said = json.loads(done.stdout.splitlines()[-1])
    flat(found, task)
    means = evaluate(found, data, metrics=("dice",), regions=task, cases=held).means
    dice = {region: round(means[region]["dice"], 4) for region in task.regions}
    return {**said, "cases": len(held), "dice": dice}


def child(order):
    """Train and predict, in the interpreter that has nnU-Net."""
    import torch  # noqa: PLC0415
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor  # noqa: PLC0415
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer  # noqa: PLC0415

    raw, pre = Path(order["raw"]), Path(order["pre"])
    plans, said = (
        json.loads(path.read_text(encoding="utf-8"))
        for path in (pre / "nnUNetPlans.json", raw / "dataset.json")
    )
    split = json.loads((raw / "splits_final.json").read_text(encoding="utf-8"))
    (pre / "splits_final.json").write_text(json.dumps(split), encoding="utf-8")
    plans["continue_training"] = False
    cores = getattr(os, "sched_getaffinity", lambda _: range(os.cpu_count() or 1))(0)
    torch.set_num_threads(len(cores))
    place = torch.device("cpu")
    trainer = nnUNetTrainer(plans, order["kind"], 0, said, device=place)
    trainer.initialize()
    trainer.on_train_start()
    trainer.network.train()
    batches, batch = iter(trainer.dataloader_train), trainer.configuration_manager.batch_size
    limit, most = 60 * order.get("minutes", 1e9), order.get("patches", 1e12)
    next(batches)  # workers have started
    began, steps = time.monotonic(), 0
    while (done := max((time.monotonic() - began) / limit, steps * batch / most)) < 1:
        for group in trainer.optimizer.param_groups:
            group["lr"] = trainer.initial_lr * (1 - done) ** 0.9
        trainer.train_step(next(batches))
        steps += 1
    took = time.monotonic() - began
    trainer.set_deep_supervision_enabled(False)
    trainer.network.eval()
    predictor = nnUNetPredictor(device=place, allow_tqdm=False)
    predictor.manual_initialization(
        trainer.network,
        trainer.plans_manager,
        trainer.configuration_manager,
        [trainer.network.state_dict()],
        said,
        "nnUNetTrainer",
        trainer.inference_allowed_mirroring_axes,
    )
    reader = trainer.plans_manager.image_reader_writer_class()
    for case in split[0]["val"]:
        files = [str(path) for path in sorted((raw / "imagesTr").glob(f"{case}_[0-9]*.nii.gz"))]
        image, properties = reader.read_images(files)
        Path(order["to"]).mkdir(exist_ok=True)
        target = str(Path(order["to"]) / case)
        predictor.predict_single_npy_array(image, properties, None, target)
    patch = list(trainer.configuration_manager.patch_size)
    row = {"steps": steps, "batch": batch, "patch": patch, "seconds": round(took, 1)}
    print(json.dumps(row), flush=True)
    for loader in (trainer.dataloader_train, trainer.dataloader_val):
        loader._finish()  # its workers wait for work
    os._exit(0)


def main():
    """Each training in turn."""
    if sys.argv[1:2] == ["--child"]:
        child(json.loads(sys.argv[2]))
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--to", type=Path, required=True)
    parser.add_argument("--minutes", type=float, nargs="+", default=[])
    parser.add_argument("--patches", type=float, nargs="+", default=[])
    parser.add_argument("--nnunet", default="")
    parser.add_argument("--fold", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    cut = sys.argv.index("--") if "--" in sys.argv else len(sys.argv)
    asked, given = parser.parse_args(sys.argv[1:cut]), sys.argv[cut + 1 :]
    asked.to.mkdir(parents=True, exist_ok=True)
    kept = asked.to / "minutes.jsonl"
    lines = kept.read_text(encoding="utf-8").splitlines() if kept.exists() else []
    done = [json.loads(line)["what"] for line in lines]

    def once(what, run):
        if what in done:
            return
        row = {"what": what, **run()}
        row["mean"] = round(float(np.mean(list(row["dice"].values()))), 4)
        with kept.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        print(json.dumps(row), flush=True)

    for minutes in asked.minutes:
        if not asked.nnunet:
            name = f"oncoseg, {minutes:g} minutes, seed {asked.seed}"
            once(name, lambda: ours(asked.data, asked.to, minutes, given, asked.fold, asked.seed))  # noqa: B023
    bounds = [{"minutes": each} for each in asked.minutes]
    for bound in [*bounds, *({"patches": each} for each in asked.patches)] * bool(asked.nnunet):
        name = ", ".join(f"{value:g} {key}" for key, value in bound.items())
        once(f"nnU-Net, {name}", lambda: theirs(asked.data, asked.to, asked.nnunet, bound))  # noqa: B023


if __name__ == "__main__":
    main()
