"""Mutated files through our readers and those in wide use, each file in a process of its own.

    python benchmarks/fuzz --count 20000 --minutes 10        # what `make fuzz` runs, smaller
    python benchmarks/fuzz --format nii.gz --number 417 --keep bad/    # one file again

Files are made from small valid ones by number, so the same number is the same file for every reader
and in every run of one seed. Judged are: a crash (a signal), a traceback (for ours anything but its
one family of errors; the others may raise what they like), more than 10 s of computing, more
memory than ten times the file and 1 GB, a file read although it was cut, and one read although a
checksum of its format does not hold. Formats without a checksum cannot show a changed voxel: how
often such a file was read is counted, and is no fault. Linux alone.

Prints a table, writes results/fuzz.json, and ends with 1 if any of ours failed.
"""

import argparse
import contextlib
import gc
import importlib
import json
import platform
import shutil
import subprocess
import sys
import tempfile
import time
import zlib
from collections import Counter
from pathlib import Path

import numpy as np
from mutations import mutated
from readers import OURS, READERS, modules
from seeds import FORMATS
from trial import trial

HERE = Path(__file__).parent
TO = HERE.parent / "results" / "fuzz.json"
BAD = ("crash", "traceback", "hang", "allocation")
WARM = 5  # what was done before the fork need not be done in every process
SHOWN = 20  # failures that are told one by one


def parsed():
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--count", type=int, default=2000, help="files a format for our reader")
    parser.add_argument("--peers", type=int, default=500, help="files a format for the others")
    parser.add_argument("--minutes", type=float, default=5.0, help="at most, a format and reader")
    parser.add_argument("--format", choices=FORMATS, action="append", help="these formats alone")
    parser.add_argument("--reader", choices=READERS, action="append", help="these readers alone")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--number", type=int, default=-1, help="one file alone, by its number")
    parser.add_argument("--keep", type=Path, help="folder for the files that failed")
    parser.add_argument("--to", type=Path, default=TO)
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


def made(seeds, kind, number, base):
    """File `number`: the seed it is of, how it was mutated, its bytes."""
    rng = np.random.default_rng([base, zlib.crc32(kind.encode()), number])
    seed = seeds[int(rng.integers(len(seeds)))]
    return seed, *mutated(seed, rng)


def laid(seed, folder):
    """The folder of a seed with all its files; returns the path of the one that is mutated."""
    path = folder / seed.name if "/" in seed.name else folder / seed.name.split(".")[0] / seed.name
    path.parent.mkdir(parents=True, exist_ok=True)
    for name, content in seed.beside:
        (path.parent / name).write_bytes(content)
    path.write_bytes(seed.content)
    return path


class Tally:
    """Counts of one reader on one format, and the first failures."""

    def __init__(self):
        self.counts, self.kinds, self.failures = Counter(), Counter(), []
        self.slowest, self.largest = 0.0, 0

    def add(self, number, how, seed, content, found, expected):
        """Judge one trial."""
        read = found.verdict == "read"
        same = read and found.digest == expected.digest
        words = [found.verdict] if not read else ["same" if same else "different"]
        if how.endswith("truncate"):
            words += ["truncations"] + ["truncations accepted"] * read
        if seed.sound and not how.startswith("inner") and not seed.sound(content):
            words += ["checksums broken"] + ["checksums accepted"] * read
            words += ["checksums accepted, other voxels"] * (read and not same)
        words += ["implausible"] * bool(found.odd)
        self.counts.update(["files", *words])
        self.kinds.update([f"{how}: {words[0]}"])
        self.slowest = max(self.slowest, found.seconds)
        self.largest = max(self.largest, found.peak)
        wrong = {*BAD, "truncations accepted", "checksums accepted", "implausible"} & {*words}
        if wrong and len(self.failures) < SHOWN:
            said = found.said or found.odd
            what = {"number": number, "seed": seed.name, "mutation": how, "fault": sorted(wrong)}
            self.failures.append({**what, "said": said})
        return bool(wrong)

    def result(self, seconds):
        """As JSON."""
        return {
            **dict(sorted(self.counts.items())),
            "mutations": dict(sorted(self.kinds.items())),
            "slowest_s": round(self.slowest, 2),
            "largest_mb": round(self.largest / 1e6, 1),
            "seconds": round(seconds, 1),
            "first_failures": self.failures,
        }


def clean_errors(reader):
    """The errors that count as a refusal."""
    if reader != OURS:
        return Exception
    return importlib.import_module("oncoseg.errors").OncosegError


def run(options, kind, reader):
    """All files of one format through one reader."""
    seeds = FORMATS[kind]()
    for name in modules(reader, kind):
        importlib.import_module(name)
    clean, read, tally = clean_errors(reader), READERS[reader][kind], Tally()
    count = options.count if reader == OURS else min(options.count, options.peers)
    numbers = range(count) if options.number < 0 else [options.number]
    begun = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        paths = {seed.name: laid(seed, Path(folder)) for seed in seeds}
        if reader != "SimpleITK" and kind != "onco":  # no threads before a fork
            for path in list(paths.values()) * WARM:
                with contextlib.suppress(Exception):
                    read(path)
        gc.collect()
        gc.freeze()
        expected = {name: trial(read, path, clean) for name, path in paths.items()}
        for number in numbers:
            if time.monotonic() - begun > 60 * options.minutes:
                break
            seed, how, content = made(seeds, kind, number, options.seed)
            path = paths[seed.name]
            path.write_bytes(content)
            found = trial(read, path, clean)
            wrong = tally.add(number, how, seed, content, found, expected[seed.name])
            if options.keep and (wrong or options.number >= 0):
                kept(options.keep / f"{kind}-{reader}-{number}", path)
            path.write_bytes(seed.content)
    unread = sorted(name for name, one in expected.items() if one.verdict != "read")
    return {**tally.result(time.monotonic() - begun), "seeds_not_read": unread}


def kept(folder, path):
    """A copy of what was read."""
    shutil.copytree(path.parent, folder, dirs_exist_ok=True)


def apart(options, kind, reader):
    """`run` in an interpreter of its own, which holds nothing but what that reader needs."""
    words = [sys.executable, str(HERE), "--one", "--format", kind, "--reader", reader]
    words += [
        f"--{name}={getattr(options, name)}" for name in ("count", "peers", "minutes", "seed")
    ]
    words += [f"--number={options.number}"] + [f"--keep={options.keep}"] * bool(options.keep)
    done = subprocess.run(words, check=False, capture_output=True, text=True)
    if done.returncode:
        return {"files": 0, "stopped": done.stderr[-2000:]}
    return json.loads(done.stdout.splitlines()[-1])


COLUMNS = {
    "files": "files",
    "refused": "refused",
    "read, same": "same",
    "read, other": "different",
    "implausible": "implausible",
    "crash": "crash",
    "traceback": "traceback",
    "hang": "hang",
    "memory": "allocation",
}


def row(kind, reader, found):
    """A line of the table."""
    cells = [str(found.get(key, 0)) for key in COLUMNS.values()]
    for word, all_of in (("truncations", "truncations"), ("checksums", "checksums broken")):
        cells.append(f"{found.get(word + ' accepted', 0)} of {found.get(all_of, 0)}")
    return f"| {kind} | {reader} | {' | '.join(cells)} |"


def commit():
    """The commit that was measured, "" outside git."""
    words = ["git", "rev-parse", "--short", "HEAD"]
    found = subprocess.run(words, cwd=HERE, capture_output=True, text=True, check=False)
    return found.stdout.strip()


def written(to, options, results):
    """The figures so far, beside those of formats that were not run again."""
    old = json.loads(to.read_text(encoding="utf-8"))["results"] if to.exists() else {}
    machine = f"{platform.machine()} {platform.system()}, Python {platform.python_version()}"
    for kind, rows in results.items():
        for reader, found in rows.items():
            stamped = {"commit": commit(), "seed": options.seed, **found}
            old.setdefault(kind, {})[reader] = stamped
    to.parent.mkdir(exist_ok=True)
    text = json.dumps({"machine": machine, "results": old}, indent=1)
    to.write_text(text + "\n", encoding="utf-8")


def judged(options, kind, reader):
    """One reader on one format: printed, written, and how many faults it has."""
    found = apart(options, kind, reader)
    print(row(kind, reader, found), flush=True)
    if options.number < 0:
        written(options.to, options, {kind: {reader: found}})
    faults = found.get("first_failures", [])
    unread = [found[word] for word in ("stopped", "seeds_not_read") if found.get(word)]
    for fault in [*unread, *(faults if reader == OURS else [])]:
        print(f"    {fault}", file=sys.stderr)
    return len(faults) + len(unread)


def main():
    """Run, print, write; 1 if a reader of ours failed anywhere."""
    options = parsed()
    if sys.platform != "linux":
        print("the limits of a process are Linux's: run this there")
        return 2
    if options.one:
        print(json.dumps(run(options, options.format[0], options.reader[0])))
        return 0
    words = [*COLUMNS, "cut, but read", "checksum wrong, but read"]
    print(f"| format | reader | {' | '.join(words)} |\n|{'---|' * (len(words) + 2)}")
    pairs = [
        (kind, reader)
        for kind in options.format or FORMATS
        for reader in options.reader or READERS
        if kind in READERS[reader]
    ]
    faults = [judged(options, *pair) for pair in pairs]
    return int(any(count for (_, reader), count in zip(pairs, faults) if reader == OURS))


if __name__ == "__main__":
    sys.exit(main())
