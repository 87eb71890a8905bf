"""Sentences that a story may tell: whole ones, with what speaks for and against each.

A sentence out of its place has to be understood alone. Greetings and thanks carry nothing, and a
sentence that begins with "this" or "but" leans on the one before: both are told last, or not.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence, Set
from dataclasses import dataclass, replace
from enum import IntEnum

from fdvs.prompting.marks import marked_in, unmarked, with_marks
from fdvs.story.chapters import NOTHING_SEEN, ON_SCREEN, PICTURES, split_keywords
from fdvs.story.linking import content_words
from fdvs.text.sentences import finish, listed, shorten, split_sentences
from fdvs.text.vocabulary import same_words
from fdvs.types import Chapter

MAX_SENTENCE_CHARS = 300
# the length in words of a sentence that tells enough and can still be read
SHORT_WORDS, LONG_WORDS = 6, 40
# a sentence that shares this part of its words with an earlier one repeats it
SAME_SENTENCE = 0.8
# a text on screen recurs that stands in so many chapters, and in most
MIN_RECURRING = 3

# Openers that lean on the sentence before, in English, German, French and Spanish.
_LEANING = frozenset(
    """
this that these those it its they them he she his her and but or so then because such which also
there here therefore however otherwise
dies dieser diese dieses das es sie er und aber oder so dann denn auch dort da deshalb dadurch sonst
cela ceci ce cette ces il elle ils elles et mais ou donc alors car aussi
esto eso este esta estos estas ellos ellas y pero o entonces porque
""".split()
)
# The first words of remarks.
_PERSONAL = frozenset("i i'm i've you ich je moi yo".split())
# What is said to the audience and not about the subject.
_FILLER = re.compile(
    r"""
    ^(?:ok(?:ay)?|so|well|now|alright|all\ right|yeah|hm+|um+|uh+|also|na|ja|gut)?[,\s]*
    (?:hi|hello|hey|good\ (?:morning|afternoon|evening)|welcome|thank|thanks|bye|goodbye|see\ you
      |let'?s\ (?:get\ started|begin|start)|subscribe|please\ (?:like|subscribe)|any\ questions
      |ladies\ and\ gentlemen|can\ you\ hear|next\ slide|if\ you\ have\ (?:any\ )?questions
      |hallo|guten\ (?:morgen|tag|abend)|(?:herzlich\ )?willkommen|vielen\ dank|danke|tsch[uü]ss
      |auf\ wiedersehen|bis\ zum\ n[aä]chsten
      |bonjour|bonsoir|bienvenue|merci|au\ revoir|hola|buen[oa]s|bienvenid|gracias|adi[oó]s)\b
    | \b(?:like\ and\ subscribe|thanks?\ (?:you\ )?for\ (?:watching|listening|your\ attention)
      |f[uü]r\ (?:ihre|eure)\ aufmerksamkeit|my\ name\ is
      |that(?:\ (?:was|is)|'s)\ (?:it|all)|das\ war(?:'s|\ es)|mein\ name\ ist)\b
    """,
    re.IGNORECASE | re.VERBOSE,
)
# More of them, which stories leave out by their length.
_ASIDE = re.compile(
    r"\b(?:let (?:me|us) (?:finish|begin|start|end|talk|turn|look)|let that sink in|one more thing"
    r"|you know what i mean|still awake|as you can see|kommen wir zu|lassen sie mich"
    r"|we(?:'ll| will) (?:come back|return)|you may have (?:seen|heard)|i always find"
    r"|darauf kommen wir|wir kommen (?:nun|jetzt|später|zu[mr]?)|schauen wir uns)\b",
    re.IGNORECASE,
)
# sounds between brackets, music
_SOUND = re.compile(r"^\W*[\[(♪♫][^\])]*[\])♪♫]?\W*$")
# and what a person utters without words
_UTTERED = re.compile(
    r"^\W*(?:(?>h+m+|m+h*m+|u+h*m*|a+h+|o+h+|e+r*m*|huh|uh-huh|(?:ha)+h?|wow|hey|ugh|tss*|äh*m*)\W*)+$",
    re.IGNORECASE,
)
_DOUBT = re.compile(r"\b(?:likely|perhaps|maybe|possibly|might)\b", re.IGNORECASE)
_ENDS = re.compile('[.!?。！？]["”’»)\\]」』]*$')


_QUOTES = re.compile("“([^”]*)”")


class Voice(IntEnum):
    """Where a sentence comes from, in the order of trust."""

    SAID = 0
    SEEN = 1
    WRITTEN = 2


#: How much a sentence of each voice counts.
VOICE_WEIGHTS = {Voice.SAID: 1.0, Voice.SEEN: 0.9, Voice.WRITTEN: 0.5}


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A sentence that may be told.

    `clips` are those whose chapters contain it, `spans_s` where it is said or shown in each,
    `start_s` is when the first chapter starts, `place`
    its position in that chapter, `title` that chapter's heading, and `quality` how well it can be
    told alone, 0 to 1.
    """

    text: str
    clips: tuple[int, ...]
    spans_s: tuple[tuple[float, float], ...]
    start_s: float
    place: int
    voice: Voice
    quality: float
    title: str = ""


def candidates_of(chapters: Sequence[Chapter]) -> list[Candidate]:
    """Return the different sentences of chapters that have content, in order of time.

    A sentence is linked to every chapter that contains it. Headings, keywords and sounds are none.
    """
    found: dict[str, Candidate] = {}
    for chapter in chapters:
        for place, (voice, text, span_s) in enumerate(_sentences(chapter)):
            quality = _quality(text, voice)
            key = same_words(text)
            if not quality or not key:
                continue
            known = found.get(key)
            if known is not None:
                clips, spans_s = (*known.clips, chapter.index), (*known.spans_s, span_s)
                found[key] = replace(known, clips=clips, spans_s=spans_s)
                continue
            found[key] = Candidate(
                text=finish(shorten(text, max_chars=MAX_SENTENCE_CHARS)),
                clips=(chapter.index,),
                spans_s=(span_s,),
                start_s=chapter.start_s,
                place=place,
                voice=voice,
                quality=quality,
                title=chapter.title,
            )
    return list(found.values())


def _sentences(chapter: Chapter) -> list[tuple[Voice, str, tuple[float, float]]]:
    """Return a chapter's sentences with their times, without its heading and keywords."""
    whole_s = chapter.start_s, chapter.end_s
    said_s = chapter.said_s or [whole_s] * len(chapter.said)
    result = [(Voice.SAID, *one) for one in zip(chapter.said, said_s, strict=True)]
    # where nobody speaks, titles are what the film tells
    title = same_words(chapter.title) if chapter.said else ""
    spoken = " ".join(chapter.said)
    text = unmarked(chapter.text)
    _, found, after = text.rpartition(spoken) if spoken else ("", "", text)
    for sentence in split_sentences(after if found else text):
        if sentence.startswith(PICTURES) or (title and same_words(sentence) == title):
            continue
        is_written = sentence.startswith(ON_SCREEN)
        result.append((Voice.WRITTEN if is_written else Voice.SEEN, sentence, whole_s))
    return result


def _quality(text: str, voice: Voice) -> float:
    """Return how well a sentence can be told alone, 0 where it has no content."""
    if text == NOTHING_SEEN or is_sound(text) or not content_words(text):
        return 0.0
    words = same_words(text).split()
    quality = VOICE_WEIGHTS[voice]
    if is_remark(text):
        quality *= 0.1
    if _DOUBT.search(text):
        quality *= 0.8 if voice is Voice.SAID else 0.5
    if words[0] in _LEANING:
        quality *= 0.6
    if words[0] in _PERSONAL:
        quality *= 0.4
    if text.rstrip('"”’»)').endswith(("?", "？")):
        quality *= 0.3
    if voice is Voice.SAID and not _ENDS.search(text):
        quality *= 0.5
    if voice is Voice.SAID and text.isascii() and len(words) < SHORT_WORDS:
        quality *= len(words) / SHORT_WORDS
    if len(words) > LONG_WORDS:
        quality *= LONG_WORDS / len(words)
    return quality


def is_sound(text: str) -> bool:
    """Return whether a sentence is a sound between brackets, music or an utterance without words.

    >>> is_sound("Hmm."), is_sound("[music]"), is_sound("Hm, the sea rises.")
    (True, True, False)
    """
    return bool(_SOUND.match(text) or _UTTERED.match(text))


def is_remark(text: str) -> bool:
    """Return whether a sentence is said to the audience, or is a sound, and tells no matter."""
    is_short = len(text.split()) <= 2 * SHORT_WORDS
    return bool(
        _FILLER.search(text) or is_sound(text) or (is_short and _ASIDE.search(text))
    ) or text == NOTHING_SEEN  # fmt: skip


def is_heading(candidate: Candidate) -> bool:
    """Return whether a sentence is its chapter's heading."""
    return same_words(candidate.text) == same_words(candidate.title)


def leans(text: str) -> bool:
    """Return whether a sentence opens with a word that leans on the sentence before."""
    words = same_words(text).split()
    return bool(words) and words[0] in _LEANING


def repeats(text: str, others: Iterable[str]) -> bool:
    """Return whether most content words of a text, or all of another's, stand in the other one."""
    words = set(content_words(text))
    for other in others:
        known = set(content_words(other))
        shared = len(words & known)
        if words and known and shared >= SAME_SENTENCE * min(len(words), len(known)):
            return True
    return False


def with_texts_once(chapters: Sequence[Chapter]) -> list[Chapter]:
    """Return chapters whose texts on screen are only those that no earlier one has.

    A window, a footer or a list that grows stands in many chapters, and is told once.
    """
    seen: set[str] = set()
    return [replace(c, text=_without_texts(unmarked(c.text), seen)) for c in chapters]


def with_footers_once(chapters: Sequence[Chapter]) -> list[Chapter]:
    """Return chapters in which a text that most of them show, such as a footer, is told once.

    Texts are compared by their letters: recognisers lose spaces, and page numbers differ.
    """
    shown = [{_letters(quote) for quote in _quotes(c)} for c in chapters]
    counts = Counter(key for keys in shown for key in keys if key)
    least = max(MIN_RECURRING, sum(map(bool, shown)) // 2 + 1)
    footers = {key for key, count in counts.items() if count >= least}
    told: set[str] = set()
    result = []
    for chapter, keys in zip(chapters, shown, strict=True):
        result.append(_without_footers(chapter, keys & told))
        told |= keys & footers
    return result


def _without_footers(chapter: Chapter, footers: Set[str]) -> Chapter:
    if not footers:
        return chapter
    sentences = split_sentences(unmarked(chapter.text))
    parts = [_with_quotes(one, lambda quote: _letters(quote) not in footers) for one in sentences]
    text = " ".join(filter(None, parts))
    return replace(chapter, text=with_marks(text, marked_in(chapter.text))) if text else chapter


def _quotes(chapter: Chapter) -> list[str]:
    sentences = split_sentences(unmarked(chapter.text))
    return [quote for sentence in sentences for quote in _quoted(sentence)]


def _letters(text: str) -> str:
    return "".join(filter(str.isalpha, text.casefold()))


def _quoted(sentence: str) -> list[str]:
    return _QUOTES.findall(sentence) if sentence.startswith(ON_SCREEN) else []


def _with_quotes(sentence: str, is_told: Callable[[str], bool]) -> str:
    """Return a sentence with those of its texts on screen that are told; "" where none is left."""
    quotes = _quoted(sentence)
    left = [quote for quote in quotes if is_told(quote)]
    if len(left) == len(quotes):
        return sentence
    return f"{ON_SCREEN} {listed([f'“{quote}”' for quote in left])}." if left else ""


def on_screen(sentence: str) -> list[str]:
    """Return the texts that a sentence about the screen quotes; itself where it quotes none."""
    return _QUOTES.findall(sentence) or [sentence.removeprefix(ON_SCREEN).strip()]


def _without_texts(text: str, seen: set[str]) -> str:
    """Return a chapter's text without the texts on screen in `seen`, to which its own are added."""
    parts = []
    for sentence in split_sentences(text):
        parts.append(_with_quotes(sentence, lambda quote: same_words(quote) not in seen))
        seen.update(map(same_words, _quoted(sentence)))
    return " ".join(filter(None, parts))


def picture_words(chapters: Sequence[Chapter]) -> Counter[str]:
    """Return the picture keywords of chapters, in the order of their first appearance, and how
    many of these show each.

    Kinds in brackets and second names ("unicycle or monocycle") are left out; a doubtful word, with
    its question mark, counts by itself.
    """
    counts: Counter[str] = Counter()
    for chapter in chapters:
        counts.update(list(dict.fromkeys(_chapter_keywords(chapter))))
    return counts


def _chapter_keywords(chapter: Chapter) -> list[str]:
    _, found, listed = unmarked(chapter.text).rpartition(f"{PICTURES} ")
    words = split_keywords(listed.removesuffix(".")) if found else []
    return [re.sub(r" \([^)]*\)| or [^?]*", "", word) for word in words]
