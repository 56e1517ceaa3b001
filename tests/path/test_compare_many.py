"""Dozens of algorithms on one page that can still be read, and a page that shows no scan."""

import re
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from oncoseg import files
from oncoseg.compare import compare
from oncoseg.compare.advice import LISTED, advice
from oncoseg.compare.plots import COLOURS, MANY
from oncoseg.compare.told import priced

ALGORITHMS = MANY + 4
CASES = 16
SIZE = 24


def disc(centre, radius):
    across, down = np.ogrid[:SIZE, :SIZE]
    return (across - centre[0]) ** 2 + (down - centre[1]) ** 2 <= radius**2


@pytest.fixture(scope="module")
def contest(tmp_path_factory):
    """Each algorithm is a little further off than the one before; the page is made twice."""
    folder = tmp_path_factory.mktemp("many")
    rng = np.random.default_rng(0)
    names = [f"algorithm {place:02}" for place in range(ALGORITHMS)]
    for place in range(CASES):
        centre, case = rng.uniform(9, 15, 2), f"case_{place:02}.png"
        drawn = {"truth/masks": disc(centre, 6)}
        for far, name in enumerate(names):
            drawn[name] = disc(centre + rng.normal(0, 0.1) + far * 0.6, 6)
        for name, mask in drawn.items():
            (folder / name).mkdir(parents=True, exist_ok=True)
            Image.fromarray(mask.astype(np.uint8)).save(folder / name / case)
        (folder / "truth/images").mkdir(exist_ok=True)
        shades = rng.integers(0, 255, (SIZE, SIZE)).astype(np.uint8)
        Image.fromarray(shades).save(folder / "truth/images" / case)
    for far, name in enumerate(names):
        cost = {"seconds": 0.1 + (far + 1) / 10, "peak_mb": 900 + 100 * far}
        files.write_json(folder / name / "costs.json", cost)
    folders = [folder / name for name in names]
    made = {
        pictures: compare(
            folders,
            folder / "truth",
            protocol="ubench",
            to=folder / f"out{pictures}",
            samples=50,
            pictures=pictures,
        )
        for pictures in (True, False)
    }
    pages = {key: (folder / f"out{key}/comparison.html").read_text("utf-8") for key in made}
    return made[True], pages


def test_every_algorithm_has_a_row_in_each_table_and_none_a_column(contest):
    _, pages = contest
    for heads in re.findall(r"<thead><tr>(.*?)</tr>", pages[True]):
        assert "algorithm 03" not in heads
    (means,) = re.findall(r"<h2>Means</h2>.*?</table>", pages[True], re.DOTALL)
    assert means.count("<tr>") == 1 + ALGORITHMS
    assert means.index("algorithm 00") < means.index("algorithm 01")


def test_differences_are_colours_that_say_their_numbers(contest):
    comparison, pages = contest
    dense = re.findall(r'<table class="dense">(.*?)</table>', pages[True], re.DOTALL)
    assert len(dense) == len(comparison.ranked)
    for table, measure in zip(dense, comparison.ranked):
        better = [one for one in comparison.pairs if (one.region, one.metric) == measure]
        significant = sum(bool(one.better) for one in better)
        assert significant
        assert table.count('class="up"') == table.count('class="down"') == significant
        (one,) = [p for p in better if (p.first, p.second) == ("algorithm 00", "algorithm 11")]
        assert f'title="algorithm 00 - algorithm 11: {one.difference:.3f}, p' in table


def test_few_are_shown_and_named_where_all_would_hide_them(contest):
    comparison, pages = contest
    shown = re.findall(r"outline of the prediction", pages[True])
    assert len(shown) == 3 * MANY
    assert f"outlines of the first {MANY} and truth" in pages[True]
    assert "grey lines join" not in pages[True]
    assert "the darker a bar" in pages[True]
    said = comparison.advice()
    listed = re.search(r"better than (.*?) and \d+ more", said)
    assert listed
    assert listed[1].count("algorithm") == LISTED
    # Whom the plots of cost do not name they say if pointed at.
    assert "<title>algorithm 05</title>" in pages[True]


def test_a_list_of_a_few_is_said_in_full(contest):
    comparison, _ = contest
    few = {one.algorithm for one in comparison.standings[: LISTED + 2]}
    pairs = [one for one in comparison.pairs if {one.first, one.second} <= few]
    standings = [replace(one, shares=()) for one in comparison.standings[: LISTED + 2]]
    said = advice(standings, pairs, {})
    assert "more" not in said
    assert all(name in said for name in few)


def test_a_page_without_pictures_has_no_part_of_a_scan_and_all_the_rest(contest):
    _, pages = contest
    assert pages[True].count("data:image") >= 3
    assert "data:image" not in pages[False]
    before, after = (re.sub(r"<svg.*?</svg>", "", page, flags=re.DOTALL) for page in pages.values())
    assert before.split("Worst cases")[0] == after.split("Worst cases")[0]
    (listed,) = re.findall(r"<h2>Worst cases</h2>.*?</table>", pages[False], re.DOTALL)
    assert listed.count("<tr>") == 1 + ALGORITHMS


def test_costs_are_plain_numbers():
    assert priced(1443.2, "peak_mb") == "1443 MB"
    assert priced(12.345, "seconds") == "12.3 s"
    assert priced(4.1e9, "flops") == "4.1 G"
    assert len(COLOURS) == MANY
