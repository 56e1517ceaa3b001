"""The schema of a report, and what of a report breaks it, found without a package."""

import json
import re
from pathlib import Path

from oncoseg.report import report

SCHEMA = json.loads(
    (Path(report.__code__.co_filename).parent / "schema.json").read_text(encoding="utf-8")
)
KINDS = {"object": dict, "array": list, "string": str, "boolean": bool, "number": (int, float)}


def faults(value, rule, place="report"):
    """What of a value breaks a rule: as much of JSON Schema as ours uses, without a package."""
    if "$ref" in rule:
        yield from faults(value, SCHEMA["$defs"][rule["$ref"].rpartition("/")[2]], place)
        return
    kinds = rule.get("type", [])
    kinds = [kinds] if isinstance(kinds, str) else kinds
    if kinds and not any(is_a(value, kind) for kind in kinds):
        yield f"{place} is no {' or '.join(kinds)}"
        return
    checks = {
        "const": lambda said: value == said,
        "minLength": lambda said: len(value) >= said,
        "pattern": lambda said: re.search(said, value) is not None,
        "minimum": lambda said: value >= said,
        "maximum": lambda said: value <= said,
    }
    for key, check in checks.items():
        if key in rule and not check(rule[key]):
            yield f"{place} breaks {key}"
    if isinstance(value, dict):
        yield from in_object(value, rule, place)
    elif isinstance(value, list):
        for number, one in enumerate(value):
            yield from faults(one, rule.get("items", {}), f"{place}[{number}]")


def in_object(value, rule, place):
    yield from (f"{place} has no {key}" for key in rule.get("required", ()) if key not in value)
    for key, needed in rule.get("dependentRequired", {}).items():
        if key in value:
            yield from (f"{place} has no {one}" for one in needed if one not in value)
    known, others = rule.get("properties", {}), rule.get("additionalProperties", True)
    for key, one in value.items():
        if key in known:
            yield from faults(one, known[key], f"{place}.{key}")
        elif others is False:
            yield f"{place} may not have {key}"
        elif others is not True:
            yield from faults(one, others, f"{place}.{key}")


def is_a(value, kind):
    return isinstance(value, KINDS[kind]) and (kind == "boolean" or not isinstance(value, bool))
