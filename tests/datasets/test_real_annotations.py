"""The real annotation files, as far as they are at hand: counts and ids, no text."""

from __future__ import annotations

from collections import Counter
from functools import cache
from pathlib import Path

import pytest

from fdvs.datasets import examples
from fdvs.datasets.activitynet_qa import KINDS
from fdvs.datasets.examples import Split
from fdvs.datasets.nextqa import KINDS as NEXT_KINDS
from fdvs.datasets.registry import DATASETS, load_split
from fdvs.errors import PartialData

pytestmark = pytest.mark.needs_data

WHOLE = [
    ("activitynet_captions", "val_1", "v_uqiMw7tQ1Cc_0"),
    ("activitynet_captions", "val_2", "v_uqiMw7tQ1Cc_0"),
    ("activitynet_qa", "test", "v_1QIUV7WYKXg_3"),
    ("activitynet_qa", "val", "v_TIEzvhv6xaI_2"),
    ("charades_sta", "test", "3MSZA_0"),
    ("didemo", "test", "1"),
    ("didemo", "test_all", "1"),
    ("didemo", "val", "49152"),
    ("didemo", "val_all", "49152"),
    ("msrvtt", "test", "ret0"),
    ("msrvtt_qa", "val", "158581"),
    ("msvd_qa", "val", "1201_30933"),
    ("youcook2", "val", "xHr8X2Wpmno_0"),
]


@cache
def real(
    name: str, folder: Path, split: str | None = None, *, allow_partial: bool = False
) -> Split:
    """Load once what several tests look at."""
    return load_split(name, folder, split=split, allow_partial=allow_partial)


def items(split: Split) -> list[str]:
    return [one.id for one in (*split.choices, *split.questions, *split.queries)]


@pytest.mark.parametrize(("name", "split", "first"), WHOLE)
def test_whole_files_have_the_cards_counts(
    data_dir: Path, name: str, split: str, first: str
) -> None:
    found = real(name, data_dir, split)
    card = DATASETS[name].card.split(split)
    assert not found.is_partial
    assert len(found.video_ids) == card.videos
    assert len(items(found)) == len(set(items(found))) == card.records
    assert first in items(found)


@pytest.mark.parametrize(
    ("name", "num_captions"), [("egoschema", 180), ("nextqa", 10), ("intentqa", 3)]
)
def test_the_files_with_captions_are_partial_and_say_so(
    data_dir: Path, name: str, num_captions: int
) -> None:
    with pytest.raises(PartialData):
        load_split(name, data_dir)
    found = real(name, data_dir, allow_partial=True)
    assert load_split(name, data_dir / name, allow_partial=True) == found
    assert found.name.endswith(f"(partial, {len(found.choices)} of {found.expected['records']})")
    assert len(found.choices) > 0.4 * found.expected["records"]
    assert found.without_captions == ()
    assert set(found.captions) == set(found.video_ids) == set(found.durations_s)
    for captions in found.captions.values():
        assert len(captions) >= num_captions
        assert [caption.start_s for caption in captions] == list(range(len(captions)))


def test_no_marker_is_left_in_real_narrations(data_dir: Path) -> None:
    captions = real("egoschema", data_dir, allow_partial=True).captions.values()
    texts = [caption.text for of_video in captions for caption in of_video]
    assert len(texts) == 180 * len(captions)
    assert not any("#" in text for text in texts)
    assert sum(text.startswith("C ") for text in texts) > 0.8 * len(texts)


def test_right_answers_are_spread_over_the_options(data_dir: Path) -> None:
    for name in ("egoschema", "nextqa"):
        choices = real(name, data_dir, allow_partial=True).choices
        counts = Counter(question.answer for question in choices)
        assert set(counts) == set(range(5))
        assert max(counts.values()) < 0.3 * len(choices)


def test_official_kinds_are_all_there(data_dir: Path) -> None:
    nextqa = real("nextqa", data_dir, allow_partial=True)
    assert {question.kind for question in nextqa.choices} == set(NEXT_KINDS)
    for split in ("test", "val"):
        questions = real("activitynet_qa", data_dir, split).questions
        assert {question.kind for question in questions} == set(KINDS)
        assert Counter(question.video_id for question in questions).most_common()[0][1] == 10
    kinds = {question.kind for question in real("msrvtt_qa", data_dir, "val").questions}
    assert kinds == {"what", "who", "how", "when", "where"}


def test_every_video_of_val_2_is_described_in_val_1_too(data_dir: Path) -> None:
    first = real("activitynet_captions", data_dir, "val_1")
    second = real("activitynet_captions", data_dir, "val_2")
    assert set(second.video_ids) < set(first.video_ids)
    assert len(examples.by_paragraph(second).queries) == len(second.video_ids)
    captions = examples.captions_of(second.queries)
    assert sum(map(len, captions.values())) == len(second.queries)
    for video_id, of_video in captions.items():
        assert all(0 <= one.start_s < one.end_s for one in of_video)
        assert max(one.end_s for one in of_video) <= first.durations_s[video_id]
