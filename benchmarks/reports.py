"""Seconds of a report: from a prediction to the web page, and to the PDF, on one core.

    python benchmarks/reports.py out/ --case NAME [--findings recist,rano]

`out/` is what `oncoseg predict` wrote. Wall and CPU seconds of a first run, which imports and fills
caches, and of a warm one in the same process; sizes in bytes. Prints JSON.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

from oncoseg.report import report


def timed(predictions, case, findings, kinds):
    """Wall and CPU seconds of one report, and the bytes of its files."""
    with tempfile.TemporaryDirectory() as folder:
        wall, cpu = time.perf_counter(), time.process_time()
        made = report(predictions, to=Path(folder), kinds=kinds, cases=[case], findings=findings)
        spent = {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}
        sizes = {path.suffix[1:]: path.stat().st_size for path in made}
    return {name: round(value, 2) for name, value in spent.items()} | {"bytes": sizes}


def main():
    """Time a first and a warm report, without and with PDF."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("predictions", type=Path)
    parser.add_argument("--case", required=True)
    parser.add_argument("--findings", default="")
    words = parser.parse_args()
    findings = [name for name in words.findings.split(",") if name]
    found = {
        f"{'+'.join(kinds)}, {run}": timed(words.predictions, words.case, findings, kinds)
        for run in ("first", "warm")
        for kinds in (("html",), ("html", "pdf"))
    }
    print(json.dumps({"case": words.case, "findings": findings, **found}, indent=2))


if __name__ == "__main__":
    main()
