"""How long the command line takes to start, beside an interpreter that does nothing.

Ratios within one run: every round starts each command once, so that a busy machine slows all alike.
Writes results/startup.json with the machine and the commit.
"""

import json
import platform
import statistics
import subprocess
import sys
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
    result = {"machine": machine, "commit": commit(), "rounds": ROUNDS - 1, "commands": rows}
    to = HERE / "results" / "startup.json"
    to.parent.mkdir(exist_ok=True)
    to.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    slow = [name for name in ("oncoseg --help", "oncoseg list") if rows[name]["median_s"] > LIMIT_S]
    if slow:
        print(f"slower than {LIMIT_S} s: {', '.join(slow)}")
    return int(bool(slow))


if __name__ == "__main__":
    sys.exit(main())
