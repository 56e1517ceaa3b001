"""PET to SUV by body weight, where the header tells all that it takes; nothing is assumed.

SUVbw (g/ml) = activity (Bq/ml) * weight (g) / dose (Bq), with the dose decayed to the time to which
the activity was corrected.
"""

from __future__ import annotations

import datetime as dt
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from oncoseg.blocks.instances import shown
from oncoseg.errors import BadFile

REMEDY = "export it as SUV (units GML), or as BQML with weight, dose, half-life and times"
PHILIPS = (0x7053, "Philips PET Private Group")
SAME = (
    *("Units", "SUVType", "DecayCorrection", "PatientWeight", "SeriesDate", "SeriesTime"),
    *("CorrectedImage", "DecayCorrected", "AttenuationCorrected", "DecayCorrectionDateTime"),
)
# Half-lives in seconds; a nuclide that is named must have its own.
HALF_LIVES = {
    "F18": 6586.2,
    "C11": 1223.0,
    "N13": 597.9,
    "O15": 122.2,
    "GA68": 4062.6,
    "CU64": 45723.6,
    "ZR89": 282280.0,
    "RB82": 75.5,
    "I124": 360806.0,
}
LONGEST_WAIT = 12 * 3600


def factor(folder: Path, heads: Sequence[Any]) -> float:
    """What rescaled units are multiplied by to give SUVbw (g/ml); raises `BadFile`.

    Units of GML are SUV already. CNTS is what Philips writes: its own factors are in private
    elements. BQML needs weight and dose; the dose is decayed from injection to the start of the
    scan where DecayCorrection is START, and is as injected where it is ADMIN.
    """
    for name in SAME:
        if len({str(head.get(name, "")) for head in heads}) > 1:
            raise BadFile(folder, f"is PET whose slices differ in {name}", REMEDY)
    head = heads[0]
    units = _units(folder, head)
    if units == "GML":
        kind = shown(head.get("SUVType", "") or "BW").upper()
        if kind != "BW":
            raise BadFile(folder, f"holds SUV of the type {kind}, not by body weight", REMEDY)
        return 1.0
    if units not in ("BQML", "CNTS"):
        raise BadFile(folder, f"is PET in units '{units}', which are not activity", REMEDY)
    _check_corrected(folder, head)
    counts = units == "CNTS"
    if counts and (own := _philips(folder, heads, 0x00)) > 0:
        return own
    scale = _philips(folder, heads, 0x09) if counts else 1.0
    if not scale > 0:
        cause = "is PET in counts without the factors (7053,1000) or (7053,1009)"
        raise BadFile(folder, cause, REMEDY)
    weight = _number(folder, head, "PatientWeight", (0.5, 400), "kg")
    return scale * 1000.0 * weight / _dose(folder, heads)


def _units(folder: Path, head: Any) -> str:
    """Units, or of an enhanced image the unit that its real-world values are in."""
    if head.get("Units") or not head.get("SharedFunctionalGroupsSequence"):
        return shown(head.get("Units", "")).upper()
    groups = [*head.SharedFunctionalGroupsSequence, *head.PerFrameFunctionalGroupsSequence]
    maps = [one for group in groups for one in group.get("RealWorldValueMappingSequence") or ()]
    codes = {shown(one.MeasurementUnitsCodeSequence[0].CodeValue) for one in maps}
    known = {"Bq/ml": "BQML", "g/ml": "GML", "{SUVbw}g/ml": "GML", "g/ml{SUVbw}": "GML"}
    if len(codes) != 1:
        raise BadFile(folder, f"is PET that names {len(codes)} units, not one", REMEDY)
    code = codes.pop()
    return known.get(code, code)


def _check_corrected(folder: Path, head: Any) -> None:
    said = head.get("CorrectedImage") or ()
    corrected = {str(word).upper() for word in ([said] if isinstance(said, str) else said)}
    enhanced = {str(head.get(name, "")) for name in ("DecayCorrected", "AttenuationCorrected")}
    if not {"ATTN", "DECY"} <= corrected and enhanced != {"YES"}:
        raise BadFile(folder, "is PET without attenuation and decay correction", REMEDY)


def _philips(folder: Path, heads: Sequence[Any], element: int) -> float:
    """A factor that Philips keeps for itself; 0 where it is not given."""
    values = set()
    for head in heads:
        try:
            value = head.private_block(*PHILIPS)[element].value
        except KeyError:
            return 0.0
        values.add(float(value.decode("ascii") if isinstance(value, bytes) else value or 0))
    if len(values) > 1:
        raise BadFile(folder, f"is PET whose slices differ in (7053,10{element:02x})", REMEDY)
    return values.pop() if math.isfinite(next(iter(values))) else 0.0


def _dose(folder: Path, heads: Sequence[Any]) -> float:
    """Becquerel in the patient at the time to which the activity was corrected."""
    head = heads[0]
    drugs: Any = head.get("RadiopharmaceuticalInformationSequence") or ()
    if len(drugs) != 1:
        raise BadFile(folder, f"names {len(drugs)} radiopharmaceuticals, not one", REMEDY)
    dose = _number(folder, drugs[0], "RadionuclideTotalDose", (1e4, 1e11), "Bq")
    if head.get("DecayCorrectionDateTime"):
        start = _stamp(folder, head.DecayCorrectionDateTime, "DecayCorrectionDateTime")
        half_life = _half_life(folder, drugs[0])
        return dose * 2.0 ** (-_waited(folder, head, drugs[0], start) / half_life)
    correction = shown(head.get("DecayCorrection", "")).upper()
    if correction == "START":
        half_life = _half_life(folder, drugs[0])
        start = _start(folder, heads, half_life)
        return dose * 2.0 ** (-_waited(folder, head, drugs[0], start) / half_life)
    if correction != "ADMIN":
        raise BadFile(folder, f"has DecayCorrection '{correction}'", REMEDY)
    return dose


def _number(folder: Path, head: Any, name: str, limits: tuple[float, float], unit: str) -> float:
    value = head.get(name)
    if value in (None, "") or not float(value) > 0:
        raise BadFile(folder, f"is PET without a {name} above 0", REMEDY)
    if not limits[0] <= float(value) <= limits[1]:
        hint = " (is it in MBq?)" if unit == "Bq" and float(value) < limits[0] else ""
        cause = f"has a {name} of {float(value):.6g}, which is not plausible in {unit}{hint}"
        raise BadFile(folder, cause, REMEDY)
    return float(value)


def _half_life(folder: Path, drug: Any) -> float:
    half_life = _number(folder, drug, "RadionuclideHalfLife", (60, 1e6), "s")
    codes: Any = drug.get("RadionuclideCodeSequence") or ()
    number, sign = _nuclide(str(codes[0].get("CodeMeaning", "")) if len(codes) else "")
    expected = HALF_LIVES.get(f"{sign}{number}", HALF_LIVES.get(f"{sign[:1]}{number}"))
    if expected and abs(half_life / expected - 1) > 0.05:
        cause = f"has a RadionuclideHalfLife of {half_life:.6g} s, but its nuclide {expected:.6g} s"
        raise BadFile(folder, cause, REMEDY)
    return half_life


def _nuclide(meaning: str) -> tuple[str, str]:
    """Mass number and the first letters, in capitals: `^18^Fluorine`, `F-18`, `18F`."""
    before = re.search(r"(\d+)\W*([A-Z][a-z]?)", meaning)
    after = re.search(r"([A-Z][a-z]?)[a-z]*\W*(\d+)", meaning)
    if before:
        return before[1], before[2].upper()
    return (after[2], after[1].upper()) if after else ("", "")


def _start(folder: Path, heads: Sequence[Any], half_life: float) -> dt.datetime:
    """When the scan began: SeriesTime, unless the series was made anew after the scan.

    Then from the middle of a bed position's counts, which FrameReferenceTime gives from the start.
    """
    start = _moment(folder, heads[0].get("SeriesDate"), heads[0].get("SeriesTime"), "SeriesTime")
    began = [_acquired(folder, head) for head in heads]
    if start <= min(began):
        return start
    computed = [_back(head, at, half_life) for head, at in zip(heads, began)]
    if not computed or None in computed:
        cause = "was made anew after the scan (SeriesTime is later than AcquisitionTime)"
        raise BadFile(folder, f"{cause}, so the time of decay is unknown", REMEDY)
    known = sorted(moment for moment in computed if moment is not None)
    if (known[-1] - known[0]).total_seconds() > 60:
        raise BadFile(folder, "has FrameReferenceTimes that contradict one another", REMEDY)
    return known[len(known) // 2]


def _back(head: Any, began: dt.datetime, half_life: float) -> dt.datetime | None:
    """Start of the scan by a frame: its start, plus its average-count time, less its reference."""
    reference, duration = head.get("FrameReferenceTime"), head.get("ActualFrameDuration")
    if reference in (None, "") or duration in (None, "") or not float(duration) > 0:
        return None
    decay = math.log(2) / half_life
    length = decay * float(duration) / 1000  # milliseconds in the header
    middle = math.log(length / -math.expm1(-length)) / decay
    return began + dt.timedelta(seconds=middle - float(reference) / 1000)


def _acquired(folder: Path, head: Any) -> dt.datetime:
    day = head.get("AcquisitionDate") or head.get("SeriesDate")
    return _moment(folder, day, head.get("AcquisitionTime"), "AcquisitionTime")


def _waited(folder: Path, head: Any, drug: Any, start: dt.datetime) -> float:
    """Seconds from injection to `start`."""
    stamp = drug.get("RadiopharmaceuticalStartDateTime")
    if stamp:
        given = _stamp(folder, stamp, "RadiopharmaceuticalStartDateTime")
    else:
        day = start.strftime("%Y%m%d")
        clock = drug.get("RadiopharmaceuticalStartTime")
        given = _moment(folder, day, clock, "RadiopharmaceuticalStartTime")
        if given > start:  # injected before midnight
            given -= dt.timedelta(days=1)
    seconds = (start - given).total_seconds()
    if not 0 <= seconds <= LONGEST_WAIT:
        raise BadFile(folder, f"has {seconds:.0f} s from injection to scan", REMEDY)
    return seconds


def _stamp(folder: Path, text: Any, name: str) -> dt.datetime:
    """YYYYMMDDHHMMSS.F, without regard to its offset from UTC: all clocks are of one scanner."""
    return _moment(folder, str(text)[:8], re.split(r"[+-]", str(text)[8:])[0], name)


def _moment(folder: Path, day: Any, clock: Any, name: str) -> dt.datetime:
    try:
        date = dt.datetime.strptime(str(day), "%Y%m%d")
        text = str(clock).replace(":", "").split(".")
        time = dt.datetime.strptime(text[0].ljust(6, "0"), "%H%M%S")
        fraction = float(f"0.{text[1]}") if len(text) > 1 and text[1] else 0.0
    except ValueError as error:
        raise BadFile(folder, f"is PET without a valid {name}", REMEDY) from error
    return dt.datetime.combine(date.date(), time.time()) + dt.timedelta(seconds=fraction)
