"""What stories tell of made lectures, against simpler ways to choose sentences, as rows of CSV.

    python research/eval_stories.py [--csv benchmarks/stories.csv] [--words-only] [--print]

`lectures.json` holds three scripts of five topics and ten slides with greetings and asides: two in
English, one in German. Speech, headings and text on screen are given with times, as perfect sources
would; clips last 12 s. Measured is how many topics and facts a story tells (the words of each fact
in one sentence) and ROUGE F1 against a summary written by hand. `lead` takes the first sentences
that are said, `random` any (mean of 20 draws): as many words as the story has. `earlier` is what
version 0.1 wrote of the same observations, from `earlier_stories.json`.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import csv_rows
import numpy as np

from fdvs.config import ChapterConfig, StoryConfig
from fdvs.models.cards import LoadSettings, load_card
from fdvs.models.embed.sentence import SentenceEmbedder
from fdvs.models.scripted import HashTextEmbedder
from fdvs.protocols import TextEmbedder
from fdvs.story.chapters import write_chapter
from fdvs.story.story import write_story
from fdvs.text.vocabulary import same_words
from fdvs.types import Clip, JsonDict, Observation, Story

HERE = Path(__file__).parent
CLIP_S = 12.0
WORDS_PER_S = 2.6
PAUSE_S = 0.4
NUM_DRAWS = 20


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the rows, and write them where `--csv` says."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--csv", type=Path, metavar="FILE")
    parser.add_argument("--words-only", action="store_true", help="a text embedder without weights")
    parser.add_argument("--print", action="store_true", help="print the stories, too")
    options = parser.parse_args(arguments)
    embedder: TextEmbedder = HashTextEmbedder()
    if not options.words_only:
        embedder = SentenceEmbedder.load(load_card("minilm-l6"), LoadSettings(device="cpu"))
    rows = [row for lecture in lectures() for row in rows_of(lecture, embedder, options.print)]
    csv_rows.print_and_write(rows, options.csv)
    return 0


def lectures() -> list[JsonDict]:
    """Return the scripts."""
    found: list[JsonDict] = json.loads((HERE / "lectures.json").read_text("utf-8"))
    return found


def rows_of(lecture: JsonDict, embedder: TextEmbedder, show: bool = False) -> Iterator[JsonDict]:
    """Yield one row for each way to tell a lecture."""
    told = tell(lecture, embedder)
    story = [sentence.text for sentence in told.sentences]
    if show:
        print_story(lecture["name"], told)
    num_words = sum(len(text.split()) for text in story)
    scenes = [text for scene in told.scenes for text in (scene.title, scene.text) if text]
    earlier = json.loads((HERE / "earlier_stories.json").read_text("utf-8"))[lecture["name"]]
    said = [sentence for slide in slides_of(lecture) for sentence in slide["said"]]
    yield scores(lecture, "story", story)
    yield scores(lecture, "story and scenes", [*story, *scenes])
    yield scores(lecture, "earlier", earlier)
    yield scores(lecture, "earlier, as long", within(earlier, num_words))
    yield scores(lecture, "lead", within(said, num_words))
    draws = [within(shuffled(said, seed), num_words) for seed in range(NUM_DRAWS)]
    yield mean_row([scores(lecture, "random", draw) for draw in draws])


def slides_of(lecture: JsonDict) -> list[JsonDict]:
    """Return the slides of all topics in order."""
    return [slide for topic in lecture["topics"] for slide in topic["slides"]]


def tell(lecture: JsonDict, embedder: TextEmbedder, *, has_headings: bool = True) -> Story:
    """Return the story of a lecture whose sources make no mistake."""
    observations = list(observed(lecture))
    if not has_headings:
        observations = [o for o in observations if o.source != "heading"]
    end_s = max(o.end_s for o in observations)
    clips = [
        Clip(video_id="lecture", index=i, start_s=start_s, end_s=min(start_s + CLIP_S, end_s))
        for i, start_s in enumerate(np.arange(0.0, end_s, CLIP_S).tolist())
    ]
    chapters = [
        write_chapter(clip, within_clip(observations, clip), config=ChapterConfig(), writer=None)
        for clip in clips
    ]
    return write_story(
        video_id="lecture",
        duration_s=end_s,
        chapters=chapters,
        kept=np.ones(len(chapters), dtype=np.bool_),
        vectors=embedder.embed_texts([chapter.text for chapter in chapters]),
        config=StoryConfig(),
        writer=None,
        embed=embedder.embed_texts,
    )


def observed(lecture: JsonDict) -> Iterator[Observation]:
    """Yield what is said, and what stands on each slide while it is shown."""
    time_s = 0.0
    for slide in slides_of(lecture):
        begin_s = time_s
        for sentence in slide["said"]:
            end_s = time_s + len(sentence.split()) / WORDS_PER_S
            yield Observation(source="speech", text=sentence, start_s=time_s, end_s=end_s)
            time_s = end_s + PAUSE_S
        shown = [("heading", slide["title"]), *(("screen text", b) for b in slide["bullets"])]
        for source, text in shown:
            yield Observation(source=source, text=text, start_s=begin_s, end_s=time_s)


def within_clip(observations: Iterable[Observation], clip: Clip) -> list[Observation]:
    """Return what a clip has: sentences that have their middle in it, and what is shown in it."""
    found = []
    for o in observations:
        start_s, end_s = max(o.start_s, clip.start_s), min(o.end_s, clip.end_s)
        middle_s = (o.start_s + o.end_s) / 2
        if o.source == "speech" and clip.start_s <= middle_s < clip.end_s:
            found.append(o)
        elif o.source != "speech" and end_s - start_s > 1:
            found.append(replace(o, start_s=start_s, end_s=end_s))
    return found


def scores(lecture: JsonDict, method: str, sentences: Sequence[str]) -> JsonDict:
    """Return the topics and facts that sentences tell, and their ROUGE F1."""
    told = [words_of(sentence) for sentence in sentences]
    facts = [
        [any(_holds(words, fact) for words in told) for fact in topic["facts"]]
        for topic in lecture["topics"]
    ]
    text, reference = " ".join(sentences), " ".join(lecture["summary"])
    return {
        "lecture": lecture["name"],
        "method": method,
        "topics": sum(map(any, facts)),
        "num_topics": len(facts),
        "facts": sum(map(sum, facts)),
        "num_facts": sum(map(len, facts)),
        "rouge_1": round(rouge_n(text, reference, 1), 3),
        "rouge_2": round(rouge_n(text, reference, 2), 3),
        "words": len(text.split()),
    }


def words_of(text: str) -> set[str]:
    """Return the words of a text; numbers keep their points."""
    return {word.strip('.,:;?!“”‘’"()') for word in text.casefold().split()}


def _holds(words: set[str], fact: Sequence[Sequence[str]]) -> bool:
    """Return whether words name a fact, one of each group; compounds count by their beginning."""
    return all(any(_names(word, choice) for word in words for choice in group) for group in fact)


def _names(word: str, choice: str) -> bool:
    return word == choice or (len(choice) > 2 and word.startswith(choice))


def rouge_n(text: str, reference: str, n: int) -> float:
    """Return ROUGE-N F1 (Lin, 2004) of words without case and punctuation."""
    found, wanted = _grams(text, n), _grams(reference, n)
    shared = (found & wanted).total()
    return 2 * shared / (found.total() + wanted.total()) if shared else 0.0


def _grams(text: str, n: int) -> Counter[tuple[str, ...]]:
    words = same_words(text).split()
    return Counter(zip(*(words[i:] for i in range(n)), strict=False))


def within(sentences: Iterable[str], num_words: int) -> list[str]:
    """Return the first sentences until they have `num_words` words."""
    found: list[str] = []
    for sentence in sentences:
        if sum(len(text.split()) for text in found) >= num_words:
            break
        found.append(sentence)
    return found


def shuffled(sentences: Sequence[str], seed: int) -> list[str]:
    """Return the sentences in a random order."""
    return random.Random(seed).sample(list(sentences), len(sentences))


def mean_row(rows: Sequence[JsonDict]) -> JsonDict:
    """Return the mean of each number of equal rows."""

    def mean(name: str, value: Any) -> Any:
        if isinstance(value, str):
            return value
        return round(float(np.mean([row[name] for row in rows])), 3)

    return {name: mean(name, value) for name, value in rows[0].items()}


def print_story(name: str, story: Story) -> None:
    """Print a story and its scenes to the errors, beside the rows."""
    lines = [f"== {name}", *(f"  {s.text}" for s in story.sentences)]
    for scene in story.scenes:
        lines.append(f"  [{scene.start_s:.0f}-{scene.end_s:.0f} s] {scene.title}")
        lines += [f"      {sentence.text}" for sentence in scene.sentences]
    print("\n".join(lines), file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
