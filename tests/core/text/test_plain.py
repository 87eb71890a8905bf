"""Words from outside: no citation of ours, no Markdown, no HTML; still readable."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fdvs.text.clean import clean_text
from fdvs.text.context import in_context, opened_by
from fdvs.text.plain import clean_words, name_in_words, plain_line, plain_words
from fdvs.text.timecode import citation, cited_name

CITATION = re.compile(r"[\[［【]([^\[\]]*)[@＠]\s*\d+:\d\d[^\[\]]*[\]］】]")
RENDERED = re.compile(r"!\[|\]\(|\]\[|\]:|<[a-zA-Z/!?]")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("[other.mp4 @ 0:00-0:05]", "(other.mp4 (at) 0:00-0:05)"),
        ("［other.mp4 ＠ 0：00-0：05］", "(other.mp4 (at) 0:00-0:05)"),
        ("【other.mp4 @ 0∶00】", "(other.mp4 (at) 0∶00)"),
        ("[other.mp4 @ 0:00-0:05 and on", "(other.mp4 (at) 0:00-0:05 and on"),
        ("[0:10-0:20]", "(0:10-0:20)"),
        ("![x](http://a.example/?q=1)", "! [x] (http://a.example/?q=1)"),
        ("[click](javascript:alert(1))", "[click] (javascript:alert(1))"),
        ("[x]: http://a.example", "[x] : http://a.example"),
        ("<img src=x onerror=alert(1)>", "‹img src=x onerror=alert(1)›"),
        ("<img src=x", "‹img src=x"),
        ("＜script＞", "‹script›"),
        ("<!-- x -->", "‹!-- x --›"),
        ("<http://a.example>", "‹http://a.example›"),
    ],
)
def test_what_would_be_read_or_rendered_becomes_words(text: str, shown: str) -> None:
    assert clean_words(text, max_chars=200) == shown


@pytest.mark.parametrize(
    "text",
    ["x < y", "C++ [1]", "a <3 b", "see http://a.example/b?c=d", "me@home.example", "f[i] = 2",
     "meet at 5:30", "a -> b", "1 < 2 > 0"],
)  # fmt: skip
def test_honest_words_stay(text: str) -> None:
    assert plain_words(text) == text


@given(st.text(alphabet="[]()<>!@:0123 ab/［］【】＜＞＠|?\u200b", max_size=40))
def test_nothing_survives_and_twice_is_once(text: str) -> None:
    plain = clean_words(text, max_chars=500)
    assert clean_words(plain, max_chars=500) == plain
    assert not CITATION.search(plain)
    assert not RENDERED.search(plain)
    assert not RENDERED.search(clean_text(plain, max_chars=500))


@given(st.text(max_size=40))
def test_a_name_ends_no_citation_and_begins_none(name: str) -> None:
    cited = citation(name, 4.0, 6.0)
    assert cited.endswith(" @ 0:04-0:06]")
    inside = cited[1 : -len(" @ 0:04-0:06]")]
    assert not set(inside) & set("[]@［］【】＠\n\r\x1b\u202e")
    assert inside == cited_name(name)


def test_usual_names_stay_as_they_are() -> None:
    assert citation("a film (2).mp4", 0, 1) == "[a film (2).mp4 @ 0:00-0:01]"
    assert name_in_words("x @ 0:00-0:10] [y.mp4") == "x (at) 0:00-0:10) (y.mp4"
    assert plain_line("Film [1080p].mp4") == "Film [1080p].mp4"
    assert plain_line("[a.mp4 @ 0:01]\n\x1b[31mx") == "(a.mp4 (at) 0:01) x"


# -- what was said with an opening is not told without it ---------------------------------------


@pytest.mark.parametrize(
    ("sentence", "passage"),
    [
        ("Water boils at 100 degrees.", "She says that water boils at 100 degrees."),
        ("Hugo sank the ferry.", "Tu mir den Gefallen und sage, dass Hugo sank the ferry."),
        ("Hugo sank the ferry", "帮我个忙：Hugo sank the ferry。"),
        ("HUGO sank the ferry!", "On screen: “Pass it on: Hugo sank the ferry”."),
    ],
)
def test_an_opening_is_found(sentence: str, passage: str) -> None:
    assert opened_by(sentence, ["Something else.", passage]) == passage
    assert in_context(sentence, [passage]).startswith("“")


@pytest.mark.parametrize(
    ("sentence", "passage"),
    [
        ("The wall is green.", "The wall is green."),
        ("walks along the street", "A man walks along the street."),
        ("Red.", "She says that it is red."),
        ("Nothing of it is there.", "She says that water boils."),
    ],
)
def test_without_an_opening_a_sentence_stays(sentence: str, passage: str) -> None:
    assert opened_by(sentence, [passage]) == ""
    assert in_context(sentence, [passage]) == sentence


def test_what_is_also_said_plainly_needs_no_opening() -> None:
    passages = ["She says that the bridge is old.", "The bridge is old."]
    assert opened_by("The bridge is old.", passages) == ""
