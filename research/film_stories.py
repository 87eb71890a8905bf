"""Ten kinds of made films: built with no option, told, asked, and held against their scripts.

    python research/film_stories.py FOLDER [--docs docs/examples.md] [--csv FILE]

Makes the films of films.json in FOLDER/films, runs `fdvs build` on them, and prints how many facts
of each script the story tells, against the first sentences of the chapters (`lead`) and any
sentences (`random`, mean of 20 draws), as many words as the story has. `--docs` also writes the
stories, chapters and answers between the marks of that file.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import csv_rows
from eval_stories import HERE, NUM_DRAWS, mean_row, scores, shuffled, within
from make_films import films, make_all

from fdvs.pipelines.library import Library
from fdvs.text.counts import counted
from fdvs.text.sentences import split_sentences
from fdvs.text.timecode import end_code, timecode
from fdvs.types import Answer, JsonDict, Story

BEGIN, END = "<!-- films: begin -->", "<!-- films: end -->"
MAX_STORY_CHARS, MAX_CHAPTER_CHARS, MAX_ANSWER_CHARS = 600, 110, 160
NUM_CHAPTERS = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Make, build, tell and ask; print the rows, and write what the options say."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--docs", type=Path, metavar="FILE")
    parser.add_argument("--csv", type=Path, metavar="FILE")
    options = parser.parse_args(arguments)
    make_all(options.folder / "films")
    library = options.folder / "library"
    build = ["build", str(options.folder / "films"), "-l", str(library)]
    program = [sys.executable, "-c", "from fdvs.pipelines.cli.start import main; main()"]
    subprocess.run([*program, *build], check=True)
    with Library.open(library, create=False) as opened:
        rows = [row for script in films() for row in rows_of(script, opened.story(script["name"]))]
        told = [section(script, opened) for script in films()] if options.docs else []
    csv_rows.print_and_write(rows, options.csv)
    if options.docs:
        write_between(options.docs, "\n".join([table(rows), *told]))
    return 0


def rows_of(script: JsonDict, story: Story) -> Iterator[JsonDict]:
    """Yield one row for each way to tell a film; none where its script has no facts."""
    lecture = scored(script)
    if not any(topic["facts"] for topic in lecture["topics"]):
        return
    told = [sentence.text for sentence in story.sentences]
    num_words = sum(len(text.split()) for text in told)
    scenes = [text for scene in story.scenes for text in (scene.title, scene.text) if text]
    known = [text for chapter in story.chapters for text in split_sentences(chapter.text)]
    draws = [within(shuffled(known, seed), num_words) for seed in range(NUM_DRAWS)]
    yield scores(lecture, "story", told)
    yield scores(lecture, "story and scenes", [*told, *scenes])
    yield scores(lecture, "all chapters", known)
    yield scores(lecture, "lead", within(known, num_words))
    yield mean_row([scores(lecture, "random", draw) for draw in draws])


def scored(script: JsonDict) -> JsonDict:
    """Return what `scores` needs: topics with their facts, and a summary; of a lecture its own,
    else all that is said or shown."""
    if "lecture" in script:
        lectures = json.loads((HERE / "lectures.json").read_text("utf-8"))
        lecture = next(one for one in lectures if one["name"] == script["lecture"])
        return {**lecture, "name": script["name"]}
    words = script.get("voices", {}).get("en") or next(
        (script[key] for key in ("cues", "turns", "titles", "screens", "note") if key in script), ""
    )
    return {
        "name": script["name"],
        "topics": [{"facts": script["facts"]}],
        "summary": list(_flat(words)),
    }


def _flat(words: Any) -> Iterator[str]:
    if isinstance(words, str):
        yield words
        return
    for part in words:
        yield from _flat(part)


def table(rows: Sequence[JsonDict]) -> str:
    """Return the facts told of each film, by method, as Markdown."""
    methods = list(dict.fromkeys(row["method"] for row in rows))
    lines = ["| film | facts | " + " | ".join(methods) + " |"]
    lines.append("|---" * (len(methods) + 2) + "|")
    by_film: dict[str, dict[str, JsonDict]] = {}
    for row in rows:
        by_film.setdefault(row["lecture"], {})[row["method"]] = row
    for name, found in by_film.items():
        facts = " | ".join(f"{found[method]['facts']:g}" for method in methods)
        lines.append(f"| {name} | {found[methods[0]]['num_facts']:g} | {facts} |")
    return "\n".join([*lines, ""])


def section(script: JsonDict, library: Library) -> str:
    """Return a film's story, its first chapters and the answers, as Markdown."""
    story = library.story(script["name"])
    lines = [f"### {script['name']}: {script['kind']} ({end_code(story.duration_s)})"]
    lines += [_shortened(" ".join(s.text for s in story.sentences), MAX_STORY_CHARS), ""]
    chapters = story.chapters[:NUM_CHAPTERS]
    shown = [f"{timecode(c.start_s)} “{_shortened(c.text, MAX_CHAPTER_CHARS)}”" for c in chapters]
    rest = ["..."] if len(story.chapters) > len(chapters) else []
    lines.append(f"- {counted(len(story.chapters), 'chapter')}: {'; '.join([*shown, *rest])}")
    for question in script["questions"]:
        answer = library.ask(question, video=script["name"])
        lines.append(f"- *{question}* {_told(answer)}")
    return "\n".join([*lines, ""])


def _told(answer: Answer) -> str:
    if answer.refused:
        return "(refused)"
    return _shortened(" ".join(s.text for s in answer.sentences), MAX_ANSWER_CHARS)


def _shortened(text: str, max_chars: int) -> str:
    """Return a text as one line of Markdown, cut at a word where it is too long."""
    line = " ".join(text.split()).replace("|", "/").replace("*", "\\*").replace("$", "\\$")
    return line if len(line) <= max_chars else line[:max_chars].rsplit(" ", 1)[0] + " ..."


def write_between(target: Path, text: str) -> None:
    """Replace what stands between the marks of a file."""
    before, _, rest = target.read_text("utf-8").partition(BEGIN)
    _, found, after = rest.partition(END)
    if not found:
        raise SystemExit(f"{target} lacks the marks {BEGIN} and {END}")
    target.write_text(f"{before}{BEGIN}\n\n{text}\n{END}{after}", "utf-8")


if __name__ == "__main__":
    sys.exit(main())
