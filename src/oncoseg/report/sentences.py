"""What was found, in sentences: the answer first, and last what was not assessed.

The words stand in `words/<language>.toml`; every number is a row of a finding, with its unit and
interval. The same findings give the same sentences.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from string import Formatter
from typing import Any

from oncoseg.errors import unknown
from oncoseg.report.records import Said
from oncoseg.report.tables import measured
from oncoseg.write.codes import ANATOMY, TISSUE, coded

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

FOLDER = Path(__file__).with_name("words")
FINDINGS = ("volumes", "diameters", "extent", "quality")  # that every answer rests on
TIMES = "\N{NO-BREAK SPACE}\N{MULTIPLICATION SIGN}\N{NO-BREAK SPACE}"
Section = Mapping[str, Any]


def languages() -> list[str]:
    """The languages there are words of."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def words(language: str) -> dict[str, Any]:
    """The words of a language; raises `UnknownName`."""
    if language not in languages():
        raise unknown("language", language, languages())
    return tomllib.loads((FOLDER / f"{language}.toml").read_text(encoding="utf-8"))


def said(
    regions: Mapping[str, Sequence[str]],
    found: Mapping[str, Section],
    missing: Sequence[str] = (),
    language: str = "en",
) -> Said:
    """Regions with their labels, findings by name, modalities missing -> the sentences."""
    teller = _Teller(regions, found, words(language))
    notes = [
        note
        for section in found.values()
        for note in section.get("notes", ())
        if note not in section.get("warnings", ())
    ]
    unassessed = dict.fromkeys([*teller.unassessed(missing), *notes])
    return Said(teller.answer(), tuple(teller.sentences()), tuple(unassessed), language)


class _Teller:
    """One case's rows by region, and the words for them."""

    def __init__(
        self,
        regions: Mapping[str, Sequence[str]],
        found: Mapping[str, Section],
        told: Mapping[str, Any],
    ) -> None:
        self.told, self.found = told, found
        self.rows: dict[str, dict[str, Any]] = {name: {} for name in regions}
        for section in (found[name] for name in FINDINGS):
            for row in section["rows"]:
                if "region" in row:
                    self.rows[row["region"]][row["name"]] = row
        self.filled = [name for name in regions if self._size(name)["value"]]
        self.empty = [name for name in regions if name not in self.filled]
        self.outer = [
            name
            for name in self.filled
            if not any(set(regions[name]) < set(regions[one]) for one in self.filled)
        ]

    def answer(self) -> str:
        """What a reader asks first: is there a tumour, how many, how large."""
        if not self.filled:
            names = [self._named(name) for name in self.empty]
            return self._say("none", thing=self._thing(self.empty)[0], regions=self._listed(names))
        return "; ".join(map(self._counted, self.outer)) + "."

    def sentences(self) -> Iterator[str]:
        """What lies within, what was nowhere, how good it should be, and what findings say.

        Those of findings that are `first` come before: how a tumour responds matters more.
        """
        findings = sorted(self.told.get("finding", ()), key=lambda one: not one.get("first", False))
        first = sum(one.get("first", False) for one in findings)
        for one in findings[:first]:
            yield from self._of_finding(one)
        inner = [name for name in self.filled if name not in self.outer]
        if inner:
            yield self._say("within", what="; ".join(self._part("part", one) for one in inner))
        if self.filled and self.empty:
            yield self._say("nowhere", regions=self._listed(map(self._named, self.empty)))
        kind = self._dice()
        if kind:
            rated = [
                f"{self._named(name)} {measured(self.rows[name][f'{kind} Dice'])}"
                for name in self.filled
                if f"{kind} Dice" in self.rows[name]
            ]
            yield self._say(kind, what=", ".join(rated))
        for one in findings[first:]:
            yield from self._of_finding(one)

    def unassessed(self, missing: Sequence[str]) -> Iterator[str]:
        """What has no interval, and what was not there."""
        told = self.told["unassessed"]
        if missing:
            yield told["missing"].format(missing=", ".join(missing))
        if not self.filled:
            return
        cut = [self._named(name) for name in self.filled if "edge" in self.rows[name]]
        if cut:
            yield told["cut"].format(regions=self._listed(cut, "and"))
        if any("low" not in self._size(name) for name in self.filled):
            yield told["size"]
        if any("low" not in self.rows[name]["longest diameter"] for name in self.filled):
            yield told["across"]
        if not self._dice():
            yield told["dice"]

    def _of_finding(self, told: Mapping[str, Any]) -> Iterator[str]:
        """A finding's sentence, of the case, or of each region or lesion that has all its rows.

        `of` = "outer" is for regions that lie in no other alone; `row` names rows, also those of
        several kinds (`why, enhancing`), that are sentences themselves.
        """
        rows = self.found.get(told["name"], {"rows": ()})["rows"]
        if "row" in told:
            for row in rows:
                name, _, kind = row["name"].partition(", ")
                if name == told["row"]:
                    yield _begun(f"{kind}: {row['value']}" if kind else row["value"])
            return
        lines: dict[str, dict[str, str]] = {}
        for row in rows:
            whose = row.get("lesion") or row.get("region") or ""
            value = told.get(f"is {row['value']}") if isinstance(row["value"], str) else None
            lines.setdefault(whose, {})[row["name"]] = value or measured(row)
        asked = {name for _, name, _, _ in Formatter().parse(told["text"]) if name}
        for whose, values in lines.items():
            wanted = whose in self.outer if told.get("of") == "outer" else True
            if wanted and asked - {"of"} <= values.keys() and ("of" in asked) == bool(whose):
                yield _begun(told["text"].format(**values, of=self._named(whose)))

    def _counted(self, name: str) -> str:
        few = self.rows[name]["components"]["value"]
        _, one, several = self._thing([name])
        if few == 0:
            return self._say("specks", thing=one, what=self._part("together", name))
        if few > 1:
            what = self._part("together", name)
            return self._say("many", count=str(few), things=several, what=what)
        where = self._side(name)
        return self._say("one", thing=one, what=self._part("alone", name, side=where))

    def _part(self, kind: str, name: str, **more: str) -> str:
        long, short = (self.rows[name][one] for one in ("longest diameter", "perpendicular"))
        plane = self.found["diameters"]["plane"]
        across = f"{measured(long | {'unit': ''})}{TIMES}{measured(short)}"
        across += "" if plane == "image" else self._say("plane", plane=plane)
        size = measured(self._size(name))
        if "edge" in self.rows[name]:
            size, across = (self._say("least", what=text) for text in (size, across))
        return self._say(kind, region=self._named(name), size=size, across=across, **more)

    def _side(self, name: str) -> str:
        """The side of the patient, if it was found out, else that of the image.

        Nothing where the body lies off the image's middle, by the checks.
        """
        for row in self.found.get("location", {"rows": ()})["rows"]:
            if (row.get("region"), row["name"]) == (name, "hemisphere"):
                return str(self.told["hemisphere"].get(row["value"], ""))
        for row in self.found.get("checks", {"rows": ()})["rows"]:
            if (row["name"], row.get("verdict")) == ("body off the middle", "check"):
                return ""
        return str(self.told["side"].get(self.rows[name].get("image side", {}).get("value"), ""))

    def _dice(self) -> str:
        """Which kind of Dice is known of a region that was found, the better founded first."""
        for kind in ("predicted", "expected"):
            if any(f"{kind} Dice" in self.rows[name] for name in self.filled):
                return kind
        return ""

    def _size(self, name: str) -> dict[str, Any]:
        rows = self.rows[name]
        return rows["volume"] if "volume" in rows else rows["area"]

    def _thing(self, names: Sequence[str]) -> list[str]:
        """Words for what was looked for, for one and for several: only a tumour has lesions."""
        other = all(coded(name)[0] in (TISSUE, ANATOMY) for name in names)
        return list(self.told["thing"]["other" if other else "tumour"])

    def _named(self, name: str) -> str:
        return str(self.told["regions"].get(name, name))

    def _listed(self, names: Iterable[str], word: str = "or") -> str:
        *first, last = names
        return (", ".join(first) + self.told[word] if first else "") + last

    def _say(self, key: str, **values: str) -> str:
        return str(self.told[key]).format(**values)


def _begun(sentence: str) -> str:
    """A sentence begins with a capital."""
    return sentence[:1].upper() + sentence[1:]
