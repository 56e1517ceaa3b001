"""PET to SUV by body weight, where the header tells all that it takes; nothing is assumed."""

from __future__ import annotations

import datetime as dt
import re
from pathlib import Path
from typing import Any

from oncoseg.errors import BadFile

REMEDY = "export it as SUV (units GML), or as BQML with weight, dose, half-life and times"


def factor(folder: Path, head: Any) -> float:
    """What stored units are multiplied by to give SUVbw (g/ml).

    SUVbw = activity * weight / dose; the dose is decayed from injection to the start of the series
    where DecayCorrection is START, and is as injected where it is ADMIN. Raises `BadFile`.
    """
    units = str(head.get("Units", "")).upper()
    if units == "GML":
        kind = str(head.get("SUVType", "") or "BW").upper()
        if kind != "BW":
            raise BadFile(folder, f"holds SUV of the type {kind}, not by body weight", REMEDY)
        return 1.0
    if units != "BQML":
        raise BadFile(folder, f"is PET in units '{units}', which are not activity", REMEDY)
    corrected = {str(word).upper() for word in head.get("CorrectedImage") or ()}
    if not {"ATTN", "DECY"} <= corrected:
        raise BadFile(folder, "is PET without attenuation and decay correction", REMEDY)
    weight = _number(folder, head, "PatientWeight")
    drugs: Any = head.get("RadiopharmaceuticalInformationSequence") or ()
    if len(drugs) != 1:
        raise BadFile(folder, f"names {len(drugs)} radiopharmaceuticals, not one", REMEDY)
    dose = _number(folder, drugs[0], "RadionuclideTotalDose")
    correction = str(head.get("DecayCorrection", "")).upper()
    if correction == "START":
        half_life = _number(folder, drugs[0], "RadionuclideHalfLife")
        dose *= 2.0 ** (-_waited(folder, head, drugs[0]) / half_life)
    elif correction != "ADMIN":
        raise BadFile(folder, f"has DecayCorrection '{correction}'", REMEDY)
    return 1000.0 * weight / dose


def _number(folder: Path, head: Any, name: str) -> float:
    value = head.get(name)
    if value in (None, "") or not float(value) > 0:
        raise BadFile(folder, f"is PET without a {name} above 0", REMEDY)
    return float(value)


def _waited(folder: Path, head: Any, drug: Any) -> float:
    """Seconds from injection to the start of the series."""
    start = _moment(folder, head.get("SeriesDate"), head.get("SeriesTime"), "SeriesTime")
    scanned = _moment(
        folder, head.get("AcquisitionDate") or head.get("SeriesDate"),
        head.get("AcquisitionTime"), "AcquisitionTime",
    )  # fmt: skip
    if start > scanned:
        cause = "was made anew after the scan (SeriesTime is later than AcquisitionTime)"
        raise BadFile(folder, f"{cause}, so the time of decay is unknown", REMEDY)
    stamp = str(drug.get("RadiopharmaceuticalStartDateTime") or "")
    if stamp:
        given = _moment(folder, stamp[:8], re.split(r"[+-]", stamp[8:])[0], "StartDateTime")
    else:
        clock = drug.get("RadiopharmaceuticalStartTime")
        given = _moment(folder, head.get("SeriesDate"), clock, "RadiopharmaceuticalStartTime")
        if given > start:  # injected before midnight
            given -= dt.timedelta(days=1)
    seconds = (start - given).total_seconds()
    if not 0 <= seconds <= 12 * 3600:
        raise BadFile(folder, f"has {seconds:.0f} s from injection to scan", REMEDY)
    return seconds


def _moment(folder: Path, day: Any, clock: Any, name: str) -> dt.datetime:
    try:
        date = dt.datetime.strptime(str(day), "%Y%m%d")
        text = str(clock).split(".")
        time = dt.datetime.strptime(text[0].ljust(6, "0"), "%H%M%S")
    except ValueError as error:
        raise BadFile(folder, f"is PET without a valid {name}", REMEDY) from error
    fraction = float(f"0.{text[1]}") if len(text) > 1 and text[1] else 0.0
    return dt.datetime.combine(date.date(), time.time()) + dt.timedelta(seconds=fraction)
