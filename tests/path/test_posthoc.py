"""Post-hoc steps are fitted by train, kept in the model, act in predict, show in the report."""

import json

import numpy as np

from oncoseg import results
from oncoseg.model import open_model
from oncoseg.predict import predict
from oncoseg.read import read_volume
from oncoseg.report import report
from oncoseg.train import train
from runs import toy_data, toy_run

STEPS = ("largest_component", "temperature", "conformal:level=0.6")


def test_from_training_to_the_report(tmp_path):
    task, _ = toy_data(tmp_path / "data", 2, 6, dims=3, size=16)
    run = toy_run(
        tmp_path, task, augmentations=(), folds=2, steps=20, rate=1e-2, average=0.5, posthoc=STEPS
    )
    model = open_model(train(run))
    cleaned, heat, bounds = model.posthoc()
    assert cleaned.state == {}
    assert heat.state["temperature"] > 0
    assert bounds.state["cases"] == 3
    out = tmp_path / "out"
    assert not predict(model.path, tmp_path / "data", to=out, probabilities=True).failed
    for path in results.find(out).values():
        prediction, record = results.load(path)
        assert set(prediction.intervals) == set(task.regions)
        assert record["level"] == 0.6
        assert any("in 60% of cases" in note for note in prediction.notes)
        for name, mask in prediction.masks.items():
            low, high = prediction.intervals[name]
            assert low <= mask.sum() * prediction.grid.voxel_volume / 1000 <= high
            said = read_volume(out / f"{prediction.case}.probability.{name}.nii.gz").array
            assert np.isfinite(said).all()
    pages = report(out)
    assert "60%)" in pages[0].read_text(encoding="utf-8")
    plain = json.loads((out / f"{pages[0].stem}.report.json").read_text(encoding="utf-8"))
    assert {"low", "high", "level"} <= plain["findings"]["volumes"]["rows"][0].keys()
