"""Documents: whole by themselves, in order, and with every text escaped."""

import re

from oncoseg.blocks.document import STAMP, alert, document, footer, header, legend, section, table

BAD = "<b>&"
SAFE = "&lt;b&gt;&amp;"


def test_a_document_needs_nothing_else_and_runs_nothing(tmp_path):
    own = tmp_path / "own.css"
    own.write_text(".last { color: red; }\n", encoding="utf-8")
    text = document(BAD, ["<p>one</p>", "", "<p>two</p>"], own, language="de", head="<meta>\n")
    assert text.startswith('<!DOCTYPE html>\n<html lang="de">\n')
    assert f"<meta>\n<title>{SAFE}</title>" in text
    assert "<body>\n<p>one</p>\n<p>two</p>\n</body>" in text
    assert "default-src 'none'" in text
    assert not re.search(r"<script|<link|https?:|@import|url\(", text)
    style = text.partition("<style>")[2].partition("</style>")[0]
    assert "@media print" in style
    assert style.endswith(".last { color: red; }\n")


def test_the_notice_is_at_both_ends():
    assert STAMP in header("a", [])
    assert STAMP in footer()
    assert f"{STAMP} More. Made by oncoseg" in footer("More.")


def test_texts_are_escaped():
    said = [header(BAD, [BAD], BAD), alert([BAD]), section(BAD, BAD, ""), legend({BAD: "#fff"})]
    assert [text.count(SAFE) for text in said] == [3, 1, 2, 1]
    assert not any(BAD in text for text in said)


def test_of_many_notes_the_rest_is_linked():
    assert alert([]) == alert([], 2) == ""
    assert alert(["a", "b"], 2) == alert(["a", "b"]) == '<div class="alert"><p>a</p><p>b</p></div>'
    assert '<p>b</p><p><a href="#notes">1 more</a></p>' in alert(["a", "b", "c"], 2)


def test_a_table_has_a_head_and_lines():
    rows = "<tr><td>1</td><td>2</td></tr><tr><td>3</td><td>4</td></tr>"
    head = "<thead><tr><th></th><th>x</th></tr></thead>"
    assert table(["", "x"], [["1", "2"], ["3", "4"]]) == (
        f"<table>{head}<tbody>{rows}</tbody></table>"
    )
