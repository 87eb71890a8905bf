"""From recognised words to sentences with times.

Whisper repeats itself in music and noise, and it ends silence with phrases of the videos that it
was trained on. Such text is cut here, and counted for a note.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from fdvs.text.sentences import split_sentences
from fdvs.text.vocabulary import same_words

# A longer pause ends a sentence even without a full stop.
MAX_PAUSE_S = 3.0
# A longer sentence is cut at its longest pauses: a recogniser that sets no full stops.
MAX_SENTENCE_S = 30.0
MAX_SENTENCE_WORDS = 60
# A phrase of up to this many words that is said this often in a row is a loop.
MAX_PHRASE_WORDS = 12
MIN_REPEATS = 4
# Bounds on a segment of silence (Radford et al., 2023, section 4.5).
MAX_NO_SPEECH = 0.6
MIN_LOG_PROB = -1.0
# A model that does not know the language loops or guesses (measured on seven languages).
MAX_COMPRESSION = 2.2
MIN_KNOWN_LOG_PROB = -0.7
# What Whisper writes where nobody speaks, without punctuation: dropped if it stands alone.
CLOSING_PHRASES = frozenset(
    """
thanks for watching|thank you for watching|thank you so much for watching|please subscribe
thank you very much for watching|subscribe to my channel|see you next time|see you in the next video
subtitles by the amara org community|untertitel der amara org community
untertitelung des zdf 2020|sous titres réalisés par la communauté d amara org
subtítulos realizados por la comunidad de amara org|vielen dank fürs zuschauen
""".strip()
    .replace("\n", "|")
    .split("|")
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Word:
    """A recognised word as written, with its leading space if any; seconds on the file's clock."""

    text: str
    start_s: float
    end_s: float
    probability: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """Words recognised together, and how sure the model is that they are speech.

    `log_prob` is the mean log probability of a token, `no_speech` the probability of silence and
    `compression` the length of the text over its compressed length: high where it repeats itself.
    """

    words: tuple[Word, ...]
    log_prob: float
    no_speech: float
    compression: float = 1.0

    @property
    def length_s(self) -> float:
        return self.words[-1].end_s - self.words[0].start_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Spoken:
    """A sentence; `confidence` is the mean probability of its words."""

    text: str
    start_s: float
    end_s: float
    confidence: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Transcript:
    """Sentences in time order, and how many words were cut as repeated or invented."""

    sentences: tuple[Spoken, ...]
    num_repeated: int = 0
    num_invented: int = 0


def transcript(segments: Sequence[Segment]) -> Transcript:
    """Return the sentences of segments in time order, without loops and invented closings."""
    words = [word for part in segments if not _is_silence(part) for word in part.words]
    unlooped = without_loops(words)
    return Transcript(
        sentences=tuple(_sentence(part) for run in _runs(unlooped) for part in _cut_sentences(run)),
        num_repeated=len(words) - len(unlooped),
        num_invented=sum(len(part.words) for part in segments) - len(words),
    )


def _is_silence(segment: Segment) -> bool:
    if segment.no_speech > MAX_NO_SPEECH and segment.log_prob < MIN_LOG_PROB:
        return True
    return same_words(_text(segment.words)) in CLOSING_PHRASES


def is_known_language(segment: Segment) -> bool:
    """Whether a model of one language understood a segment, rather than inventing words.

    The probabilities of its words do not tell: invented ones are as sure as others.
    """
    return segment.compression <= MAX_COMPRESSION and segment.log_prob >= MIN_KNOWN_LOG_PROB


def without_loops(words: Sequence[Word]) -> list[Word]:
    """Return the words with each phrase that is said MIN_REPEATS times in a row told once."""
    spelled = [same_words(word.text) for word in words]
    kept: list[Word] = []
    at = 0
    while at < len(words):
        length, repeats = _loop_at(spelled, at)
        kept += words[at : at + length]
        at += length * repeats
    return kept


def _loop_at(spelled: Sequence[str], at: int) -> tuple[int, int]:
    """Return (words of the phrase, times it is said) at a place; (1, 1) without a loop."""
    for length in range(1, MAX_PHRASE_WORDS + 1):
        phrase = spelled[at : at + length]
        repeats = 1
        while spelled[at + repeats * length : at + (repeats + 1) * length] == phrase:
            repeats += 1
        if repeats >= MIN_REPEATS and len(phrase) == length and any(phrase):
            return length, repeats
    return 1, 1


def _runs(words: Sequence[Word]) -> Iterator[list[Word]]:
    """Cut the words at pauses."""
    run: list[Word] = []
    for word in words:
        if run and word.start_s - run[-1].end_s > MAX_PAUSE_S:
            yield run
            run = []
        run.append(word)
    if run:
        yield run


def _cut_sentences(words: list[Word]) -> Iterator[list[Word]]:
    """Cut a run of words at the ends of its sentences, and long sentences at pauses."""
    text = "".join(word.text for word in words)
    begin = taken = end_chars = num_chars = 0
    for sentence in split_sentences(text):
        end_chars = text.index(sentence, end_chars) + len(sentence)
        while taken < len(words) and num_chars < end_chars:
            num_chars += len(words[taken].text)
            taken += 1
        if taken > begin:
            yield from _bounded(words[begin:taken])
        begin = taken


def _bounded(words: list[Word]) -> Iterator[list[Word]]:
    length_s = words[-1].end_s - words[0].start_s
    if len(words) < 2 or (length_s <= MAX_SENTENCE_S and len(words) <= MAX_SENTENCE_WORDS):
        yield words
        return
    middle = (len(words) - 1) / 2
    pauses = [
        (round(words[at].start_s - words[at - 1].end_s, 1), -abs(at - middle), at)
        for at in range(1, len(words))
    ]
    cut = max(pauses)[2]
    yield from _bounded(words[:cut])
    yield from _bounded(words[cut:])


def _text(words: Sequence[Word]) -> str:
    return "".join(word.text for word in words).strip()


def _sentence(words: Sequence[Word]) -> Spoken:
    return Spoken(
        text=_text(words),
        start_s=words[0].start_s,
        end_s=max(word.end_s for word in words),
        confidence=sum(word.probability for word in words) / len(words),
    )
