"""Clip -> scene -> video: what is told, from which clips, and at any length."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fdvs.config import StoryConfig
from fdvs.errors import BadModelOutput, ModelError, ModelUnavailable
from fdvs.models.scripted import HashTextEmbedder, ScriptedLanguageModel
from fdvs.protocols import LanguageModel
from fdvs.story.chapters import NOTHING_SEEN
from fdvs.story.story import write_story
from fdvs.text.sentences import split_sentences
from fdvs.text.timecode import quartile
from fdvs.types import Chapter, Story

EXTRACTIVE = StoryConfig(writer="extractive")
ABSTRACTIVE = StoryConfig(writer="abstractive", max_tokens=20)

FILM = [
    "A hare sleeps in its burrow.",
    "The hare wakes up and stretches in the meadow.",
    "A bird sings on a branch.",
    "The hare smells a flower.",
    "Three squirrels throw nuts at the hare.",
    "The squirrels laugh at the hare.",
    "A butterfly lands and a squirrel kills it.",
    "The hare builds a trap of sticks.",
    "A kite flies over the lake.",
    "White letters on black name the makers.",
]


def chapters_of(texts: Sequence[str], *, clip_s: float = 10.0) -> list[Chapter]:
    return [
        Chapter(video_id="v", index=i, start_s=clip_s * i, end_s=clip_s * (i + 1), text=text)
        for i, text in enumerate(texts)
    ]


def told(
    texts: Sequence[str],
    *,
    config: StoryConfig = EXTRACTIVE,
    writer: LanguageModel | None = None,
    kept: Sequence[bool] | None = None,
    one_subject: bool = False,
) -> Story:
    """The story of chapters of ten seconds; `one_subject` makes them alike, and so one scene."""
    vectors = HashTextEmbedder().embed_texts([texts[0]] * len(texts) if one_subject else texts)
    return write_story(
        video_id="v",
        duration_s=10.0 * len(texts),
        chapters=chapters_of(texts),
        kept=np.array(kept if kept is not None else [True] * len(texts)),
        vectors=vectors,
        config=config,
        writer=writer,
    )


def test_a_story_is_made_of_the_chapters_own_sentences_in_order_of_time() -> None:
    story = told(FILM)
    places = [s.clips[0] for s in story.sentences]
    assert places == sorted(places)
    for sentence in story.sentences:
        assert sentence.text == FILM[sentence.clips[0]]


@pytest.mark.parametrize(
    ("start_s", "part"),
    [
        (0, "beginning"),
        (24.9, "beginning"),
        (25, "early"),
        (50, "later"),
        (75, "end"),
        (130, "end"),
    ],
)
def test_a_part_begins_at_its_quarter(start_s: float, part: str) -> None:
    assert quartile(start_s, 100.0) == part


def test_a_part_of_a_video_without_length_is_refused() -> None:
    with pytest.raises(ValueError, match="duration_s is 0"):
        quartile(0.0, 0.0)


def test_nothing_is_put_before_a_sentence_in_any_language() -> None:
    texts = ["Buck wakes up.", "Der Hase springt.", "Il pleut sur la ville.", "Frank laughs."]
    assert [s.text for s in told(texts).sentences] == texts


def test_every_kept_chapter_is_in_exactly_one_scene_and_every_sentence_has_clips() -> None:
    kept = [True, False, True, True, False, True, True, True, False, True]
    story = told(FILM, kept=kept)
    inside = [c for scene in story.scenes for c in scene.chapters]
    assert inside == [i for i, k in enumerate(kept) if k]
    assert [c.index for c in story.chapters] == inside
    assert story.num_clips == 10
    for scene in story.scenes:
        assert scene.sentences
        for sentence in scene.sentences:
            assert set(sentence.clips) <= set(scene.chapters)


def test_scenes_follow_each_other_without_a_gap() -> None:
    kept = [False, True, False, True, True, False, True, True, True, False]
    story = told(FILM, kept=kept, config=StoryConfig(max_scene_chapters=2))
    assert story.scenes[0].start_s == 10.0
    assert story.scenes[-1].end_s == 100.0
    for before, after in zip(story.scenes, story.scenes[1:], strict=False):
        assert before.end_s == after.start_s


def test_what_repeats_is_said_once() -> None:
    texts = ["A wall. The picture stands still.", "A wall. A person comes.", "A wall.", "A wall."]
    story = told(texts, config=StoryConfig(sentences_per_scene=5), one_subject=True)
    assert story.text.lower().count("a wall") == 1
    [wall] = [s for s in story.scenes[0].sentences if s.text == "A wall."]
    assert wall.clips == (0, 1, 2, 3)


def test_where_only_the_first_chapter_is_kept_there_is_still_a_story() -> None:
    story = told(FILM, kept=[True] + [False] * 9)
    assert story.text == "A hare sleeps in its burrow."
    [scene] = story.scenes
    assert (scene.start_s, scene.end_s, scene.chapters) == (0.0, 100.0, (0,))


def test_a_video_of_one_clip_has_a_story() -> None:
    assert told(["A hare sits."]).text == "A hare sits."


def test_limits_of_scene_and_story_hold() -> None:
    config = StoryConfig(sentences_per_scene=1, max_story_sentences=3, max_scene_chapters=2)
    story = told(FILM, config=config)
    assert len(story.sentences) == 3
    assert all(len(scene.sentences) == 1 for scene in story.scenes)
    assert all(len(scene.chapters) <= 2 for scene in story.scenes)


def test_every_scene_is_heard_before_a_scene_is_heard_twice() -> None:
    story = told(FILM, config=StoryConfig(max_story_sentences=5, max_scene_chapters=2))
    assert len(story.scenes) >= 5
    scene_of = {clip: scene.index for scene in story.scenes for clip in scene.chapters}
    assert len({scene_of[s.clips[0]] for s in story.sentences}) == 5


def test_a_very_long_sentence_is_told_shortened_and_marked() -> None:
    story = told(["Someone says: “" + "word " * 200 + "end.”"])
    assert len(story.text) < 400
    assert "..." in story.text


@settings(deadline=None, max_examples=40)
@given(
    texts=st.lists(st.sampled_from([*FILM, "", "...", "A. B. C."]), min_size=1, max_size=14),
    marks=st.lists(st.booleans(), min_size=14, max_size=14),
    max_scene=st.integers(1, 5),
)
def test_any_chapters_give_a_whole_story(
    texts: list[str], marks: list[bool], max_scene: int
) -> None:
    kept = marks[: len(texts)]
    kept[0] = True
    story = told(texts, kept=kept, config=StoryConfig(max_scene_chapters=max_scene))
    inside = [c for scene in story.scenes for c in scene.chapters]
    assert inside == [i for i, k in enumerate(kept) if k]
    assert all(s.clips for s in story.sentences)
    words = [s.text for s in story.sentences]
    assert len(words) == len(set(words))


def test_the_same_chapters_give_the_same_story() -> None:
    assert told(FILM) == told(FILM)


def test_writers_say_who_wrote() -> None:
    assert "no language model" in told(FILM).writers["story"]
    story = told(FILM, config=ABSTRACTIVE, writer=ScriptedLanguageModel(lambda s, u: "A hare."))
    assert story.writers == {
        "scene": "abstractive: scripted-writer@1 (offline stand-in)",
        "story": "abstractive: scripted-writer@1 (offline stand-in)",
    }
    named = write_story(
        video_id="v",
        duration_s=10.0,
        chapters=chapters_of(["A."]),
        kept=np.array([True]),
        vectors=HashTextEmbedder().embed_texts(["A."]),
        config=EXTRACTIVE,
        writer=None,
        chapter_writer="template",
    )
    assert named.writers["chapter"] == "template"


def echo(lead: str) -> Callable[[str, str], str]:
    """A model that tells the fenced lines again, one word of each."""

    def reply(_system: str, user: str) -> str:
        lines = re.findall(r"^(?:\[[^\]]*\]|[A-Z][^:]*:) (.*)$", user, re.MULTILINE)
        return " ".join(f"{lead} {line.split()[1]}." for line in lines)

    return reply


def test_a_model_tells_each_scene_and_then_the_story() -> None:
    config = StoryConfig(writer="abstractive", max_scene_chapters=5, max_tokens=60)
    writer = ScriptedLanguageModel(echo("Seen"))
    story = told(FILM, config=config, writer=writer)
    many = [scene for scene in story.scenes if len(scene.chapters) > 1]
    assert many
    assert len(writer.prompts) == len(many) + 1
    assert "At the beginning of the video: " in writer.prompts[-1][1]
    assert "At the end of the video: " in writer.prompts[-1][1]


def test_a_scene_of_one_chapter_is_that_chapter_without_a_call() -> None:
    writer = ScriptedLanguageModel(["The story."])
    story = told(FILM[:1], config=ABSTRACTIVE, writer=writer)
    assert story.scenes[0].text == FILM[0]
    assert story.text == "The story."
    assert len(writer.prompts) == 1


def test_generated_sentences_are_linked_to_the_clips_they_speak_of() -> None:
    config = StoryConfig(writer="abstractive", max_scene_chapters=12)
    reply = "Squirrels throw nuts. A kite flies. Letters name the makers."
    story = told(FILM, config=config, writer=ScriptedLanguageModel(lambda s, u: reply))
    assert [s.clips[0] for s in story.sentences] == [4, 8, 9]


def test_no_prompt_ever_exceeds_the_context_and_nothing_is_left_out() -> None:
    """A long film and a tiny context: groups of groups, and the last word still gets there."""
    texts = [f"Thing{i} appears and then thing{i} goes away again slowly." for i in range(120)]
    heard: set[str] = set()

    def reply(_system: str, user: str) -> str:
        lines = user.splitlines()[1:-2]
        heard.update(re.findall(r"Thing\d+", user))
        return f"{len(lines)} texts."

    writer = ScriptedLanguageModel(reply, context_tokens=260)
    config = StoryConfig(writer="abstractive", max_tokens=20, max_scene_chapters=12)
    story = told(texts, config=config, writer=writer)
    assert heard == {f"Thing{i}" for i in range(120)}
    assert len(writer.prompts) > len(story.scenes) + 1
    for system, user in writer.prompts:
        used = writer.count_tokens(system) + writer.count_tokens(user)
        assert used + 20 <= 260


def test_a_chapter_longer_than_the_context_is_told_in_pieces() -> None:
    long = " ".join(f"Part{i} of it is told here." for i in range(60))
    heard: set[str] = set()

    def reply(_system: str, user: str) -> str:
        heard.update(re.findall(r"Part\d+", user))
        return "A summary."

    writer = ScriptedLanguageModel(reply, context_tokens=240)
    story = told([long, "The end."], config=ABSTRACTIVE, writer=writer)
    assert heard == {f"Part{i}" for i in range(60)}
    assert story.text == "A summary."


def test_one_endless_sentence_is_cut_between_words_and_wholly_heard() -> None:
    heard: set[str] = set()

    def reply(_system: str, user: str) -> str:
        heard.update(re.findall(r"word\d+", user))
        return "A summary."

    endless = " ".join(f"word{i}" for i in range(300))
    told(
        [endless, "x"], config=ABSTRACTIVE, writer=ScriptedLanguageModel(reply, context_tokens=240)
    )
    assert heard == {f"word{i}" for i in range(300)}


@pytest.mark.parametrize("context_tokens", [100, 190])
def test_a_context_too_small_for_any_summary_is_an_error_and_no_endless_loop(
    context_tokens: int,
) -> None:
    words = "word " * 19 + "end."

    def reply(_system: str, _user: str) -> str:
        return words

    writer = ScriptedLanguageModel(reply, context_tokens=context_tokens)
    with pytest.raises(ModelError, match=r"story\.max_tokens"):
        told([words] * 12, config=ABSTRACTIVE, writer=writer)


def test_an_empty_reply_is_an_error() -> None:
    with pytest.raises(BadModelOutput, match="a story"):
        told(["A hare."], config=ABSTRACTIVE, writer=ScriptedLanguageModel([" "]))


def test_abstractive_without_a_model_is_an_error_that_says_what_to_set() -> None:
    with pytest.raises(ModelUnavailable, match=r"story\.writer"):
        told(FILM, config=ABSTRACTIVE)


def test_a_reply_of_many_equal_sentences_is_told_once() -> None:
    story = told(["A."], config=ABSTRACTIVE, writer=ScriptedLanguageModel(["It runs. " * 5]))
    assert split_sentences(story.text) == ["It runs."]


def test_nothing_kept_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one"):
        told(FILM, kept=[False] * 10)


def test_lengths_that_differ_are_refused() -> None:
    with pytest.raises(ValueError, match="need as many"):
        told(FILM, kept=[True])


def test_sure_sentences_are_told_before_doubtful_and_empty_ones() -> None:
    texts = [
        "Perhaps: a fox. The picture stands still.",
        "Seen: a hare. Perhaps: a dog.",
        "Nothing recognised with confidence. The picture moves.",
        "Maybe a bird. The picture moves.",
    ]
    story = told(texts, config=StoryConfig(sentences_per_scene=1), one_subject=True)
    assert story.scenes[0].text == "Seen: a hare."


def test_a_part_without_content_is_not_mentioned() -> None:
    nothing = "Nothing recognised with confidence. The picture stands still."
    story = told([nothing, "A hare comes.", "A fox goes.", nothing])
    assert story.text == "A hare comes. A fox goes."


def test_a_film_of_which_nothing_is_known_says_so_once() -> None:
    story = told(["Nothing recognised with confidence. The picture moves."] * 3)
    assert story.text == story.scenes[0].text == NOTHING_SEEN


def test_a_silent_film_is_told_by_the_frequent_keywords_of_all_its_clips() -> None:
    texts = ["Pictures: rabbit (hare)."] * 9 + ["Pictures: dugong.", "Pictures: bird?, pinwheel?"]
    kept = [True] + [False] * 8 + [True, True]
    story = told(texts, kept=kept)
    assert story.text == (
        "Nothing is said or written that could be recognised. Guessed from the pictures: rabbit."
    )
    assert story.sentences[0].clips == (0,)


def test_few_titles_do_not_displace_what_the_pictures_of_a_silent_film_suggest() -> None:
    texts = ["On screen: “The Burrow Film Company”."] + ["Pictures: rabbit."] * 9
    story = told(texts)
    assert story.sentences[0].text == (
        "Hardly anything is said or written. Guessed from the pictures: rabbit."
    )
    assert "Burrow Film" in story.text
    spoken = told(["The hare wakes up and stretches in the meadow.", *texts[1:]])
    assert "Guessed" not in spoken.text


def test_a_greeting_is_no_scene_of_its_own() -> None:
    texts = ["Good morning and welcome.", FILM[4], FILM[8]]
    story = told(texts)
    assert story.scenes[0].chapters[:2] == (0, 1)
    assert "Good morning" not in story.text + "".join(scene.text for scene in story.scenes)


def test_keywords_are_not_told_where_there_are_sentences() -> None:
    story = told(["A hare sits. Pictures: rabbit.", "Pictures: rabbit, bird?"])
    assert story.text == "A hare sits."


def test_sentences_without_a_new_word_stay_out_of_the_story() -> None:
    texts = [
        "A hare meets a fox.",
        "A fox meets a hare.",
        "The fox and the hare.",
        "A hare. A fox.",
    ]
    story = told(texts * 3, config=StoryConfig(sentences_per_scene=4), one_subject=True)
    assert len(story.sentences) <= 4
