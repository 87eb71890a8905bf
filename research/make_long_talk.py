"""Make a talk of half an hour: a synthetic voice reads the decisions of this project, with slides.

    python research/make_long_talk.py TARGET.mp4 [--minutes 25]

Each decision is a slide with its title, the leads of its points and a footer; what is read is its
text. Needs the programs espeak-ng and ffmpeg.
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from make_lectures import HERE, film_of

from fdvs.text.sentences import split_sentences

DECISIONS = HERE.parent / "docs" / "decisions"
# espeak-ng at the speed of make_lectures
WORDS_PER_MINUTE = 130
MAX_BULLETS, MAX_BULLET_CHARS = 4, 44
MAX_SENTENCES = 14
# a longer title would leave the slide
MAX_TITLE_CHARS = 38
FOOTER = "FDVS decisions - an open talk"


def main(arguments: Sequence[str] | None = None) -> int:
    """Make the film of as many decisions as fill the minutes."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("target", type=Path)
    parser.add_argument("--minutes", type=float, default=25)
    options = parser.parse_args(arguments)
    topics, num_words = [], 0
    for path in sorted(DECISIONS.glob("*.md")):
        if num_words >= options.minutes * WORDS_PER_MINUTE:
            break
        slide = slide_of(path.read_text("utf-8"))
        topics.append({"slides": [slide]})
        num_words += len(" ".join(slide["said"]).split())
    lecture = {"language": "en", "footer": FOOTER, "topics": topics}
    with tempfile.TemporaryDirectory() as work:
        film_of(lecture, Path(work), options.target)
    print(f"{options.target}: {len(topics)} slides, {num_words} words")
    return 0


def slide_of(page: str) -> dict[str, Any]:
    """Return the title, the leads and the first sentences of a decision."""
    title = re.sub(r"^# \d+ ", "", page.splitlines()[0])
    leads = [shorter for shorter in _leads(page) if len(shorter) <= MAX_BULLET_CHARS]
    prose = page.split("**Question.**", 1)[-1]
    said = split_sentences(_spoken(prose))[:MAX_SENTENCES]
    drawn = title if len(title) <= MAX_TITLE_CHARS else re.split("[:,;]", title)[0]
    return {"title": drawn, "bullets": leads[:MAX_BULLETS], "said": [title + ".", *said]}


def _leads(page: str) -> Iterator[str]:
    for found in re.finditer(r"^\* \*([^*]+)\*", page, re.MULTILINE):
        yield " ".join(found[1].split()).rstrip(".")


def _spoken(text: str) -> str:
    """Return Markdown as words that can be read aloud."""
    text = re.sub(r"```.*?```|^\|.*$", " ", text, flags=re.DOTALL | re.MULTILINE)
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", text)
    return " ".join(re.sub(r"[*`_#>]|^\s*- ", " ", text, flags=re.MULTILINE).split())


if __name__ == "__main__":
    sys.exit(main())
