"""The whole path on a synthetic patient: scan, prediction, evaluation against the truth, report."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from oncoseg import phantom
from oncoseg.errors import BadRun
from oncoseg.evaluate import evaluate
from oncoseg.predict import predict
from oncoseg.report import report

MODEL = "glioma"


def _silent(sentence: str) -> None:
    del sentence


def demo(to: Path, *, seed: int = 7, say: Callable[[str], None] = _silent) -> Path:
    """Write `scans`, `prediction` and `report` into `to`; return the HTML report.

    `say` receives what happens, a sentence each. Raises `BadRun` if the patient could not be
    segmented or the report holds no page.
    """
    to = Path(to)
    scans, prediction = to / "scans", to / "prediction"
    case = phantom.patient(seed)
    where = phantom.write(case, scans)
    say(f"Made a synthetic patient with a glioma ({', '.join(case.images)}) in {where}.")
    outcome = predict(MODEL, scans, to=prediction)
    if outcome.failed or not outcome.done:
        causes = "; ".join(str(cause) for cause in outcome.failed) or "nothing was predicted"
        raise BadRun(f"the demo could not segment its synthetic patient in {scans}: {causes}")
    say(f"Segmented it with the model '{MODEL}' into {prediction}.")
    evaluation = evaluate(prediction, scans)
    evaluation.write(to / "evaluation")
    say("Compared it with the known truth:")
    say(evaluation.table())
    pages = [path for path in report(prediction, to=to / "report") if path.suffix == ".html"]
    if not pages:
        raise BadRun(f"the demo wrote no HTML report into {to / 'report'}; run 'oncoseg report'")
    say(f"Open {pages[0]} in a browser. For research use only.")
    return pages[0]
