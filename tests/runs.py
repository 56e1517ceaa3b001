"""Toy data sets on disk, and short runs on them, that tests share."""

import json
import logging

from oncoseg import phantom
from oncoseg.model import open_model
from oncoseg.prepare import Plan, open_store
from oncoseg.run import Run


def toy_data(folder, seed, count, *, layout="folders", **options):
    """A toy world written to a folder: its task and cases."""
    task, cases = phantom.world(seed, count, **options)
    for case in cases:
        phantom.write(case, folder, layout=layout)
    return task, cases


def toy_run(folder, task, **changes):
    """A short run by steps on `folder`/data, which gives the same bits each time."""
    words = {
        "data": str(folder / "data"),
        "to": str(folder / "model.onco"),
        "network": "unet:width=4,blocks=1",
        "labels": dict(task.labels),
        "regions": dict(task.regions),
        "minutes": 0,
        "device": "cpu",
        "precision": "f32",
        "workers": 1,
    }
    return Run(**{**words, **changes})


def loop_of(run):
    """The loop of a run, over all cases of its prepared data."""
    from oncoseg.train import prepared, resolved  # needs torch, which the rest does not
    from oncoseg.train.loop import Loop

    run = resolved(run)
    run.folder.mkdir(parents=True, exist_ok=True)
    store = prepared(run)
    return Loop(run, Plan.read(store / "plan.json"), open_store(store), [])


def lines(run):
    """What stands in its metrics, a line a validation."""
    text = (run.folder / "metrics.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def weights_of(run):
    """The bytes of the weights in its model file."""
    return open_model(run.to).members["weights.safetensors"]


def warnings_of(caplog):
    """What was warned of, and worse."""
    return [record.message for record in caplog.records if record.levelno >= logging.WARNING]
