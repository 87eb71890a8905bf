"""The models without weights keep their protocols and their word."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fdvs.errors import ModelError
from fdvs.models.scripted import (
    GridImageEmbedder,
    HashTextEmbedder,
    ScriptedDescriber,
    ScriptedLanguageModel,
)
from fdvs.protocols import (
    Describer,
    ImageEmbedder,
    LanguageModel,
    PrefillLanguageModel,
    ReadPrompt,
    TextEmbedder,
)
from fdvs.types import Clip, ClipView


def view(index: int) -> ClipView:
    clip = Clip(video_id="v", index=index, start_s=1.0 * index, end_s=1.0 * index + 1)
    return ClipView(video_path=Path("film.mp4"), clip=clip, frames=())


def test_all_keep_their_protocols_and_call_themselves_stand_ins() -> None:
    models = [
        (ScriptedLanguageModel([]), LanguageModel),
        (ScriptedLanguageModel([]), PrefillLanguageModel),
        (ScriptedDescriber({}), Describer),
        (HashTextEmbedder(), TextEmbedder),
        (GridImageEmbedder(), ImageEmbedder),
    ]
    for model, protocol in models:
        assert isinstance(model, protocol)
        assert model.identity.is_stand_in


def test_a_writer_answers_in_order_and_remembers_its_prompts() -> None:
    writer = ScriptedLanguageModel(["one", "two"])
    assert [writer.write("s", u, max_tokens=9).text for u in "ab"] == ["one", "two"]
    assert writer.prompts == [("s", "a"), ("s", "b")]
    with pytest.raises(ModelError, match="no scripted reply left"):
        writer.write("s", "c", max_tokens=9)


def test_a_writer_cuts_at_its_limit_and_says_so() -> None:
    written = ScriptedLanguageModel(["one two three"]).write("s", "u", max_tokens=2)
    assert (written.text, written.num_tokens, written.stopped) == ("one two", 2, False)


def test_a_writer_refuses_what_does_not_fit() -> None:
    writer = ScriptedLanguageModel(["x"], context_tokens=10)
    assert writer.write("a b", "c d", max_tokens=6).num_prompt_tokens == 4
    with pytest.raises(ModelError, match="shorten it"):
        writer.write("a b", "c d", max_tokens=7)


def test_a_reading_answers_with_text_and_rest_piece_by_piece() -> None:
    writer = ScriptedLanguageModel(["it rains  now", "no"])
    reading = writer.read("s", "the story. ")
    assert isinstance(reading, ReadPrompt)
    pieces: list[str] = []
    made = reading.write("Why?", max_tokens=9, on_text=pieces.append)
    assert "".join(pieces) == made.text == "it rains  now"
    assert reading.write("How?", max_tokens=9).text == "no"
    assert writer.read_texts == [("s", "the story. ")]
    assert writer.prompts == [("s", "the story. Why?"), ("s", "the story. How?")]


def test_a_reading_scores_by_shared_words_or_as_it_is_told() -> None:
    reading = ScriptedLanguageModel([]).read("s", "a red car. ")
    near, far, longer = reading.score("What?", ["red car", "blue boat", "red car car"])
    assert near.log_prob == pytest.approx(2 * np.log(0.5))
    assert near.log_prob > longer.log_prob > far.log_prob
    assert (near.num_tokens, longer.num_tokens) == (2, 3)
    asked: list[tuple[str, str]] = []
    told = ScriptedLanguageModel([], log_prob=lambda *pair: asked.append(pair) or -1.0)
    assert told.read("s", "t ").score("r", ["o"])[0].log_prob == -1.0
    assert asked == [("s\nt r", "o")]
    assert reading.score("r", []) == ()


def test_a_reading_refuses_what_does_not_fit() -> None:
    writer = ScriptedLanguageModel(["x"], context_tokens=4)
    with pytest.raises(ModelError, match="shorten it"):
        writer.read("s", "one two three four")
    reading = writer.read("s", "one ")
    with pytest.raises(ModelError, match="shorten it"):
        reading.score("r", ["two words"])
    assert reading.score("r", ["two"])


def test_a_describer_says_what_it_was_told_per_clip() -> None:
    describer = ScriptedDescriber({1: ["a", "b"]}, source="speech", needs_frames=False)
    said = describer.describe([view(0), view(1)])
    assert [[o.text for o in clip] for clip in said] == [[], ["a", "b"]]
    assert (said[1][0].source, said[1][0].start_s, said[1][0].end_s) == ("speech", 1.0, 2.0)
    assert describer.seen == [("v", 0, 0), ("v", 1, 0)]
    by_function = ScriptedDescriber(lambda v: [f"clip {v.clip.index}"])
    assert by_function.describe([view(7)])[0][0].text == "clip 7"


def test_texts_are_unit_vectors_and_alike_where_they_share_words() -> None:
    rows = HashTextEmbedder().embed_texts(
        ["a red car", "the red car", "some green apples", "", "?"]
    )
    assert np.linalg.norm(rows, axis=1) == pytest.approx(1.0)
    assert rows[0] @ rows[1] > 0.6 > abs(rows[0] @ rows[2])
    assert (rows[3] == rows[4]).all()
    assert abs(rows[3] @ rows[0]) == 0


def test_text_vectors_are_the_same_on_every_machine() -> None:
    [row] = HashTextEmbedder(16).embed_texts(["hare"])
    assert np.flatnonzero(row).tolist() == [14]


def test_too_few_dimensions_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 2"):
        HashTextEmbedder(1)


def test_pictures_are_alike_where_they_look_alike() -> None:
    dark, light = (np.full((40, 60, 3), v, dtype=np.uint8) for v in (30, 220))
    red = np.zeros((40, 60, 3), dtype=np.uint8)
    red[..., 0] = 120
    rows = GridImageEmbedder().embed_images([dark, dark, light, red])
    units = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    assert units[0] @ units[1] == pytest.approx(1.0)
    assert units[0] @ units[2] < -0.9
    assert units[0] @ units[3] < 0.999
    assert np.isfinite(GridImageEmbedder().embed_images([dark[:3, :5]])).all()
