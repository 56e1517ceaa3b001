"""How long the command line takes to start, beside an interpreter that does nothing.

Ratios within one run: every round starts each command once, so that a busy machine slows all alike.
`oncoseg predict` with the model glioma on a synthetic patient: from the start of the process to the
first window's answer (when it tells the memory it takes) and to the end; and calls of a loaded
`oncoseg.Predictor`, the first and later ones. Writes results/startup.json with the machine and the
commit.
"""

import json
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).parent
ROUNDS = 15
LIMIT_S = 0.4
COMMANDS = {
    "python -c pass": ["-c", "pass"],
    "python -c 'import numpy'": ["-c", "import numpy"],
    "oncoseg --help": ["-m", "oncoseg", "--help"],
    "oncoseg list": ["-m", "oncoseg", "list"],
    "oncoseg show unet": ["-m", "oncoseg", "show", "unet"],
}


def seconds(words):
    """Wall time of one start."""
    start = time.perf_counter()
    subprocess.run([sys.executable, *words], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


COLD = 5
MODEL = "glioma"
FIRST = "takes at most"
PATIENT = """
import sys
from oncoseg import phantom
phantom.write(phantom.patient(7), sys.argv[1])
"""
WARM = """
import json, sys, time
began = time.perf_counter()
import oncoseg
predictor = oncoseg.Predictor(sys.argv[1])
times = [time.perf_counter() - began]
for _ in range(6):
    began = time.perf_counter()
    predictor(sys.argv[2])
    times.append(time.perf_counter() - began)
print(json.dumps(times))
"""


def cold(scans, to):
    """Seconds from the start of `oncoseg predict` to its first window, and to its end."""
    words = ["-m", "oncoseg", "predict", MODEL, scans, "--to", to]
    start = time.perf_counter()
    with subprocess.Popen(
        [sys.executable, *words], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as process:
        first = next(time.perf_counter() - start for line in process.stderr if FIRST in line)
    assert process.returncode == 0
    return first, time.perf_counter() - start


def predictions():
    """Cold and warm, in turns with a bare start, as ratios to it and in seconds."""
    with tempfile.TemporaryDirectory() as folder:
        scans = str(Path(folder) / "scans")
        subprocess.run([sys.executable, "-c", PATIENT, scans], check=True)
        rows = {name: [] for name in ("bare", "first window", "whole", "open", "first", "later")}
        for turn in range(COLD):
            rows["bare"].append(seconds(["-c", "pass"]))
            first, whole = cold(scans, f"{folder}/out{turn}")
            rows["first window"].append(first)
            rows["whole"].append(whole)
            said = [sys.executable, "-c", WARM, MODEL, scans]
            done = subprocess.run(said, check=True, capture_output=True, text=True)
            opened, called, *later = json.loads(done.stdout)
            rows["open"].append(opened)
            rows["first"].append(called)
            rows["later"].append(statistics.median(later))
    table = {name: round(statistics.median(each), 3) for name, each in rows.items()}
    ratios = [whole / later for whole, later in zip(rows["whole"], rows["later"])]
    return table | {"command / later call": round(statistics.median(ratios), 2)}


def commit():
    """The commit that was measured, "" outside git."""
    words = ["git", "rev-parse", "--short", "HEAD"]
    found = subprocess.run(words, cwd=HERE, capture_output=True, text=True, check=False)
    return found.stdout.strip()


def main():
    """Measure, print, write; 1 if a limit is broken."""
    rounds = [{name: seconds(words) for name, words in COMMANDS.items()} for _ in range(ROUNDS)]
    bare = next(iter(COMMANDS))
    rows = {}
    for name in COMMANDS:
        times = sorted(each[name] for each in rounds[1:])
        ratios = sorted(each[name] / each[bare] for each in rounds[1:])
        rows[name] = {
            "median_s": round(statistics.median(times), 4),
            "spread_s": [round(times[0], 4), round(times[-1], 4)],
            "ratio": round(statistics.median(ratios), 2),
            "ratio_spread": [round(ratios[0], 2), round(ratios[-1], 2)],
        }
        row = rows[name]
        print(f"{name:<26} {row['median_s']:.3f} s   {row['ratio']:.1f} x a bare start")
    machine = f"{platform.machine()} {platform.system()}, Python {platform.python_version()}"
    predicted = predictions()
    print("predict, seconds:", json.dumps(predicted))
    result = {"machine": machine, "commit": commit(), "rounds": ROUNDS - 1, "commands": rows}
    result["predict"] = predicted
    to = HERE / "results" / "startup.json"
    to.parent.mkdir(exist_ok=True)
    to.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    slow = [name for name in ("oncoseg --help", "oncoseg list") if rows[name]["median_s"] > LIMIT_S]
    if slow:
        print(f"slower than {LIMIT_S} s: {', '.join(slow)}")
    return int(bool(slow))


if __name__ == "__main__":
    sys.exit(main())
