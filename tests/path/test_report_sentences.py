"""The sentences of a report: the answer first, every number measured, nothing that was not."""

import re

import numpy as np
import pytest

from oncoseg import Case, Grid, Prediction, Task, build
from oncoseg.errors import UnknownName
from oncoseg.report import sentences
from oncoseg.report.sentences import FINDINGS, TIMES, said

GLIOMA = {"WT": ("NCR", "ED", "ET"), "TC": ("NCR", "ET"), "ET": ("ET",)}
LABELS = {"NCR": 1, "ED": 2, "ET": 3}


def told(boxes, regions=GLIOMA, labels=LABELS, shape=(60, 40, 30), **changes):
    """Boxes (label value, slices) on a grid of 1 mm -> what is said of them."""
    label = np.zeros(shape, np.uint8)
    for value, place in boxes:
        label[place] = value
    task = Task("toy", ("t1", "t2"), labels, regions, patch=(8,) * len(shape))
    nothing = np.zeros((0, *shape), np.float16)
    grid = Grid(shape, np.diag([*(1.0,) * 2, *(1.01,) * (len(shape) - 2), 1]))
    made = Prediction("p", task, grid, label, nothing, ("t1",), **changes)
    found = {name: build("findings", name)(made, Case("p", "p", {})) for name in FINDINGS}
    return said(regions, found, made.missing), found


ONE = (2, np.s_[5:25, 5:21, 5:15])


def test_one_tumour_is_told_with_its_sizes_and_side_first():
    found, _ = told([ONE, (3, np.s_[10:14, 8:11, 6:9])])
    assert found.answer == (
        f"One lesion: whole tumour 3.23 ml, longest diameter 25.6{TIMES}20.5 mm (axial), "
        "in the left half of the image."
    )
    within = f"Within: tumour core 0.036 ml, longest diameter 5.00{TIMES}3.75 mm (axial); enhancing"
    assert found.sentences[0].startswith(within)
    assert found.language == "en"


def test_several_lesions_have_their_sum_and_no_side():
    found, _ = told([ONE, (2, np.s_[40:50, 5:21, 5:15])])
    assert re.match(r"2 lesions: whole tumour 4\.85 ml in all, longest diameter", found.answer)
    assert "half" not in found.answer
    assert "No voxel was marked as tumour core or enhancing tumour." in found.sentences


def test_regions_beside_one_another_are_told_one_by_one():
    regions = {"liver tumour": ("a",), "bone": ("b",)}
    labels = {"a": 1, "b": 2}
    found, _ = told([(1, ONE[1]), (2, np.s_[40:50, 5:21, 5:15])], regions, labels)
    first, second = found.answer.split("; ")
    assert first.startswith("One lesion: liver tumour 3.23 ml, longest diameter")
    assert second.startswith("One piece: bone 1.62 ml, longest")


def test_nothing_found_is_no_proof():
    found, _ = told([], missing=("t2",))
    assert found.answer == (
        "No tumour was found: the model marked no voxel as whole tumour, tumour core or enhancing "
        "tumour. This does not show that there is none."
    )
    assert found.sentences == ()
    assert len(found.unassessed) == 1
    assert "t2" in found.unassessed[0]


def test_specks_are_no_lesion():
    found, _ = told([(2, np.s_[5:7, 5:7, 5:7])])
    start = "No lesion large enough to count, smaller pieces alone: whole tumour 0.008 ml in all"
    assert found.answer.startswith(start)


def test_flat_images_have_an_area_and_no_plane():
    found, _ = told([(2, np.s_[5:25, 5:21])], shape=(60, 40))
    assert found.answer == (
        f"One lesion: whole tumour 320.0 px, longest diameter 25.6{TIMES}20.5 px."
    )


def test_intervals_are_said_where_known_and_missed_where_not():
    spans = {"WT": (2.5, 4.0), "TC": (0.0, 0.1), "ET": (0.0, 0.1)}
    dice = {"WT": {"value": 0.8, "low": 0.6, "high": 0.9, "level": 0.9}}
    found, _ = told([ONE], intervals=spans, level=0.9, predicted_dice=dice)
    assert "whole tumour 3.23 ml (2.50-4.00, 90%), longest" in found.answer
    assert any("(Dice): whole tumour 0.800 (0.600-0.900, 90%)." in one for one in found.sentences)
    without, _ = told([ONE])
    assert len(found.unassessed) == 1  # diameters
    assert len(without.unassessed) == 3  # sizes, diameters, Dice


def test_a_tumour_that_the_image_cuts_is_at_least_as_large():
    found, _ = told([(2, np.s_[0:20, 5:21, 5:15])])
    across = f"longest diameter at least 25.6{TIMES}20.5 mm (axial)"
    assert found.answer.startswith(f"One lesion: whole tumour at least 3.23 ml, {across}")
    assert "The image ends within whole tumour" in found.unassessed[0]


def test_the_side_is_the_patients_where_it_was_found_out():
    found, sections = told([ONE])
    row = {"region": "WT", "name": "hemisphere", "value": "both", "unit": ""}
    more = {**sections, "location": {"title": "", "method": "", "rows": [row]}}
    assert said(GLIOMA, more).answer.endswith(", in both hemispheres.")
    assert found.answer.endswith(", in the left half of the image.")
    off = {"name": "body off the middle", "value": 23.0, "unit": "mm", "verdict": "check"}
    more = {**sections, "checks": {"title": "", "method": "", "rows": [off]}}
    assert said(GLIOMA, more).answer.endswith("(axial).")


def test_rows_of_lesions_and_of_other_findings_do_not_change_the_answer():
    found, sections = told([ONE])
    rows = [
        {"region": "WT", "lesion": "WT 1", "name": "volume", "value": 99.0, "unit": "ml"},
        {"region": "WT", "name": "longest diameter", "value": 99.0, "unit": "mm"},
    ]
    more = {**sections, "toy": {"title": "Toy", "method": "", "rows": rows}}
    assert said(GLIOMA, more).answer == found.answer


def test_response_is_told_before_all_else_and_warnings_are_not_unassessed():
    _, sections = told([ONE])
    why = {"name": "why, enhancing, by products", "value": "PR by RANO 2.0.", "unit": ""}
    change = {
        name: {"region": "WT", "name": name, "value": value, "unit": "ml"}
        for name, value in {"before": 2.0, "now": 3.0}.items()
    }
    course = {"region": "WT", "name": "course", "value": "growing", "unit": ""}
    more = {
        **sections,
        "change": {"title": "", "method": "", "rows": [*change.values(), course]},
        "response": {"title": "", "method": "", "rows": [why]},
        "checks": {"rows": [], "notes": ["Not known.", "Too thick."], "warnings": ["Too thick."]},
    }
    found = said(GLIOMA, more)
    assert found.sentences[0] == "Enhancing, by products: PR by RANO 2.0."
    assert found.sentences[1] == "Whole tumour: 2.00 ml before, 3.00 ml now, growing."
    assert found.unassessed[-1] == "Not known."


def test_no_number_is_invented():
    found, sections = told([ONE, (3, np.s_[10:14, 8:11, 6:9])], intervals={"WT": (2, 4)}, level=0.9)
    known = {0.9, 1}
    for section in sections.values():
        for row in section["rows"]:
            known |= {row[key] for key in ("value", "low", "high") if key in row}
    numbers = {value for value in known if not isinstance(value, str)}
    text = " ".join([found.answer, *found.sentences])
    for number in map(float, re.findall(r"(?<!\w)\d+(?:\.\d+)?(?!%|\d)", text)):
        assert any(abs(number - value) <= 0.051 for value in numbers), number


def test_findings_speak_by_templates_and_what_they_note_is_unassessed(monkeypatch):
    _, sections = told([ONE])
    words = {
        **sentences.words("en"),
        "finding": [
            {"name": "toy", "text": "{of} is {kind}, {length}.", "is round": "rund"},
            {"name": "toy", "text": "Slices are {slice thickness}."},
            {"name": "toy", "text": "Never said: {nothing}."},
            {"name": "absent", "text": "Nor this."},
        ],
    }
    monkeypatch.setattr(sentences, "words", lambda language: words)
    rows = [
        {"lesion": "WT 1", "name": "kind", "value": "round", "unit": ""},
        {"lesion": "WT 1", "name": "length", "value": 3.0, "unit": "mm"},
        {"lesion": "WT 2", "name": "kind", "value": "flat", "unit": ""},
        {"name": "slice thickness", "value": 5, "unit": "mm"},
    ]
    toy = {"title": "Toy", "method": "None.", "rows": rows, "notes": ["Colour was not measured."]}
    found = said(GLIOMA, {**sections, "toy": toy})
    assert found.sentences[-2:] == ("WT 1 is rund, 3.00 mm.", "Slices are 5 mm.")
    assert found.unassessed[-1] == "Colour was not measured."


def test_a_language_without_words_is_refused():
    with pytest.raises(UnknownName, match="en"):
        sentences.words("eo")


@pytest.mark.parametrize("language", sentences.languages())
def test_every_language_has_the_same_words(language):
    def shape(words):
        if isinstance(words, dict):
            return {key: shape(value) for key, value in words.items()}
        if isinstance(words, list):
            return len(words)
        return sorted(re.findall(r"{(.*?)}", words))

    assert shape(sentences.words(language)) == shape(sentences.words("en"))
