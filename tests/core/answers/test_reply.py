"""Citations that a model wrote: found wherever they stand, believed only inside the evidence."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fdvs.answers.reply import WrittenCitation, cited_moments, read_reply, seconds, times_in
from fdvs.types import Moment


def moment(name: str, start_s: float, end_s: float) -> Moment:
    return Moment(
        video_id=f"id of {name}",
        name=name,
        start_s=start_s,
        end_s=end_s,
        score=0,
        text="x",
        clips=(0,),
    )


def cite(start_s: float, end_s: float, name: str = "") -> WrittenCitation:
    return WrittenCitation(name=name, start_s=start_s, end_s=end_s)


@pytest.mark.parametrize(
    ("reply", "text", "citations"),
    [
        ("A dog runs [0:10-0:20].", "A dog runs.", [cite(10, 20)]),
        ("A dog runs. [0:10-0:20]", "A dog runs.", [cite(10, 20)]),
        ("A dog runs (0:10 to 0:20).", "A dog runs.", [cite(10, 20)]),
        ("A dog runs [1:00:05].", "A dog runs.", [cite(3605, 3605)]),
        ("A dog runs [film.mp4 @ 0:10-0:20].", "A dog runs.", [cite(10, 20, "film.mp4")]),
        ("A dog runs [a (1).mp4 @ 0:10–0:20].", "A dog runs.", [cite(10, 20, "a (1).mp4")]),
        ("A dog runs [0:10-0:20, 0:30-0:40].", "A dog runs.", [cite(10, 20), cite(30, 40)]),
        ("[0:10-0:20] A dog runs.", "A dog runs.", [cite(10, 20)]),
        ("A dog runs [12] [source].", "A dog runs.", []),
        ("It is 0:10 o'clock.", "It is 0:10 o'clock.", []),
    ],
)
def test_citations_are_taken_out_of_their_sentence(
    reply: str, text: str, citations: list[WrittenCitation]
) -> None:
    (sentence,) = read_reply(reply)
    assert (sentence.text, list(sentence.citations)) == (text, citations)


def test_each_sentence_keeps_its_own() -> None:
    first, second, third = read_reply("A runs. [0:10-0:20] B sits [0:30-0:40]. C.")
    assert (first.text, first.citations) == ("A runs.", (cite(10, 20),))
    assert (second.text, second.citations) == ("B sits.", (cite(30, 40),))
    assert (third.text, third.citations) == ("C.", ())


def test_a_reply_of_marks_alone_holds_no_sentence() -> None:
    assert read_reply("[0:10-0:20] ... [x]") == []


@settings(deadline=None)
@given(st.text(alphabet="ab [](){}@:-0123459.,;", max_size=200))
def test_any_reply_can_be_read(text: str) -> None:
    for sentence in read_reply(text):
        assert sentence.text.strip()
        assert all(c < "\ue000" or c > "\uf8ff" for c in sentence.text)


EVIDENCE = [moment("a.mp4", 10.4, 19.6), moment("a.mp4", 20.0, 30.0), moment("b.mp4", 50.0, 60.0)]


@pytest.mark.parametrize(
    ("citation", "starts"),
    [
        (cite(10, 20), [10.4]),
        (cite(12, 15), [10.4]),
        (cite(10, 30), [10.4, 20.0]),
        (cite(15, 25), [10.4, 20.0]),
        (cite(25, 25), [20.0]),
        (cite(50, 60, "b.mp4"), [50.0]),
        (cite(50, 60, "B.MP4"), [50.0]),
        (cite(9, 20), []),
        (cite(10, 31), []),
        (cite(25, 55), []),
        (cite(30, 10), []),
        (cite(10, 20, "b.mp4"), []),
        (cite(10, 20, "c.mp4"), []),
        (cite(0, 5), []),
        (cite(99, 99), []),
    ],
)
def test_a_citation_counts_where_all_of_it_lies_in_the_evidence(
    citation: WrittenCitation, starts: list[float]
) -> None:
    assert [m.start_s for m in cited_moments(citation, EVIDENCE)] == starts


def test_a_gap_between_chapters_is_not_in_the_evidence() -> None:
    apart = [moment("a.mp4", 0, 10), moment("a.mp4", 20, 30)]
    assert cited_moments(cite(5, 25), apart) == []


def test_a_name_is_compared_as_the_model_was_shown_it() -> None:
    odd = [moment("x] [y <z>.mp4", 0, 10)]
    assert cited_moments(cite(0, 10, "x) (y (z).mp4"), odd) == odd


def test_times_are_read_with_and_without_hours() -> None:
    assert [seconds(t) for t in ("0:00", "1:05", "10:00", "1:00:05")] == [0, 65, 600, 3605]
    assert times_in("from 0:10 to 1:00:05, ratio 4:3") == ["0:10", "1:00:05"]
