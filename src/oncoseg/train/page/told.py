"""What a training has come to, in a sentence: Dice now, and by how much it still rises."""

from __future__ import annotations

import math

from oncoseg.train.page import curves
from oncoseg.train.page.history import History
from oncoseg.train.spread import Spread

FLAT = 0.005  # of Dice, that nobody would train longer for
LITTLE = 0.05  # Dice of a model that finds next to nothing


def state(story: History) -> str:
    """Whether it is finished, was stopped, or how far it is."""
    if story.finished:
        return "finished"
    if not story.kept:
        return "not begun"
    at = f"at step {story.kept.get('step', 0)}, {story.done:.0%} done"
    events = story.kept.get("events", ())
    if events and events[-1][2].startswith("stopped"):
        return f"{events[-1][2]} {at}"
    return "validating and writing the model" if story.done >= 1 else at


def answer(story: History) -> list[str]:
    """The first line of the page, and what is to be said after it."""
    if story.folds:
        return _of_folds(story)
    if not story.kept:
        done = len(list((story.folder / "folds").glob("fold_*.onco")))
        some = "1 fold is" if done == 1 else f"{done} folds are"
        return [f"Cross-validation: {some} finished", "The model of all cases follows the last."]
    if not story.looks:
        return _without_dice(story)
    last = story.looks[-1]
    final = story.final.get("cases", {})
    now = story.spread(final or last.rows)
    mean = f"mean of {len(story.regions)} regions; " if len(story.regions) > 1 else ""
    looked = "each segmented as 'predict' does" if final else "looked at on the training's grid"
    first = f"Dice {now.mean:.3f} {'at the end' if story.finished else 'now'}"
    first += f" on {now.cases} held-out cases" if now.cases > 1 else " on one held-out case"
    after = f"After {curves.timed(story.seconds)} and {story.kept.get('step', 0)} steps"
    return [first + _short(story), f"{after}{_within(now)}; {mean}{looked}.", rising(story)]


def _short(story: History) -> str:
    """By how much it still rises, as the end of the first line."""
    found = story.rise()
    if not found:
        return ""
    change, _ = found
    if not math.isfinite(change.low):
        return ""
    if change.low >= -FLAT and change.high <= FLAT:
        return ": it has levelled off"
    if change.low <= 0 <= change.high:
        return ": whether it still rises cannot be told"
    return f": it still rises ({_signed(change.mean)} lately)" if change.mean > 0 else ": it falls"


def rising(story: History) -> str:
    """By how much Dice has changed over the last quarter, and what to do about it."""
    found = story.rise()
    if not found:
        if story.done >= 1:
            return "It was looked at too seldom to say whether it still rose."
        return "How much it still rises will be seen after the next validations."
    change, seconds = found
    when = f"In the last {curves.timed(seconds)} Dice of the same cases changed by"
    return f"{when} {_signed(change.mean)}{_span(change)}. {_verdict(story, change)}"


def _span(change: Spread) -> str:
    if not math.isfinite(change.low):
        return ""
    return f" (95 % interval {_signed(change.low)} to {_signed(change.high)})"


def _signed(value: float) -> str:
    """With its sign, of which nothing has none."""
    return f"{value:+.3f}" if abs(value) >= 0.0005 else "0.000"


def _verdict(story: History, change: Spread) -> str:
    if not math.isfinite(change.low):
        return "Of one patient that tells little: hold out more."
    if story.spread(story.looks[-1].rows).mean < LITTLE:
        return "The model finds next to nothing yet: give it more minutes."
    if change.low <= 0 <= change.high:
        return "That may be chance."
    if change.mean < 0:
        return "It gets worse: look at the examples and at the loss."
    return "More minutes may give more." if story.done >= 1 else "It pays to go on."


def _of_folds(story: History) -> list[str]:
    """Of the folds together, of which the model of all cases was made."""
    now = story.spread(story.final["cases"])
    mean = f", mean of {len(story.regions)} regions" if len(story.regions) > 1 else ""
    return [
        f"Dice {now.mean:.3f} on all {now.cases} cases, each by a model that never saw it",
        f"Cross-validation in {story.folds} folds{_within(now)}{mean}.",
        "This last training is on all cases, and its model the one to keep.",
    ]


def _within(one: Spread) -> str:
    if not math.isfinite(one.low):
        return ""
    return f", 95 % interval {one.low:.3f} to {one.high:.3f}"


def _without_dice(story: History) -> list[str]:
    losses = story.losses()
    parts = [
        f"{name} from {curves.smoothed(points)[0][1]:.3g} to {curves.smoothed(points)[-1][1]:.3g}"
        for name, points in losses.items()
        if points
    ]
    fell = f"Loss: {', '.join(parts)}." if parts else "No step has been noted yet."
    if not story.kept.get("own", True):
        first = "This method is not trained for the task itself, so there is no Dice"
        why = "What it learned shows when a model is trained from it, with --start."
    elif not story.kept.get("patients"):
        first = "No case was held out, so there is no Dice"
        why = "How good it is stays unknown; --fold 0 holds a fifth out, --folds 5 all in turn."
    else:
        first = "No Dice yet"
        why = "Held-out cases are looked at as soon as that takes little of the time."
    return [first, fell, why]
