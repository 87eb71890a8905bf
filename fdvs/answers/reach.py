"""How far a question reaches: one matter, the whole of a video, a part of its time, all videos.

"What is this about?" is answered by the story and not by the sentence that is nearest to it, "what
happens in the second half?" by the story of that half, and "which videos show a boat?" by videos.
Works on the words, in English, German, French and Spanish; in another language a question asks for
one matter.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from fdvs.text.vocabulary import same_words

Kind = Literal["matter", "whole", "topics", "videos"]

NEAR_A_TIME_S = 2.0  # "at 3:20" means about so many seconds around it
FIRST_SHARE = 0.2  # of a video that "at the beginning" means; the same at the end

# Words that questions about the whole are made of. One word more, and a matter is named.
_WHOLE_WORDS = frozenset(
    """
a about all an and any are at be brief briefly by can could cover covers covered describe did do
does during discuss discusses discussed end ending ends everything explain film first for from
general gist give go goes going half happen happened happens here idea in is it its just last
latter lecture long main me middle minute minutes movie of on one opening or over overall overview
part please point points quick quickly recording say says second seconds see seen sentence
sentences short shortly show shown shows start starts story sum summarise summarize summary take
talk tell that the there third this three through to topic topics two up us video was watch we were
what whole with would you begin beginning begins final finally how said he she they tl dr clip
content contents theme themes subject subjects key learn takeaway takeaways explained presented
presentation hour hours between after before worum geht es in dem diesem der die das den des was
passiert am ende anfang beginn zu fasse zusammen zusammenfassung fass bitte kurz mir themen thema
film video vortrag inhalt hälfte erste ersten erster zweite zweiten letzten letzte minuten minute
sekunden mitte wird ist handelt davon wovon erzählt erzähle gezeigt gesagt um und ganze ganzen im
von bei nach vor zwischen überblick gib einen geschieht schluss zum über sagt sagen er sie
gesprochen besprochen behandelt drittel stunde de quoi parle parlent cette ce cet la le les vidéo
film résume résumé résumer résumez fais un une sujet sujets thème thèmes qu que se passe t il à au
fin début moitié deuxième seconde première premier première dernières minutes milieu sont quels
quel principaux principal est en du des dans raconte entre après avant donne moi moi aperçu partie
s qué trata este esta vídeo película resume resumen resúmeme haz tema temas pasa ocurre sucede al
el final principio mitad segunda primera los las cuáles son principales principal del en medio lo
un una y por favor cuenta minutos últimos primeros entre después antes charla
""".split()
)
_NAMES_THE_WHOLE = re.compile(
    r"""
    \babout\b|\bsumm(?:ar|ed|ing)?|\bsum\s+up|\boverview|\bgist|\bhappen|\btopic|\btheme|\bsubject
    |\b(?:main|key)\b|\bcover|\bdiscuss|\bdescribe|\btell\b|\bstory\b|\bcontents?\b|\bpoint
    |\btakeaway|\blearn|\bexplain|\bgoing\s+on|\bgoes\s+on|\bshow|\bsee\b|\bsaid?\b|\bsays?\b|\bend\b
    |\bhow\s+does\b|\btalk|\btl;?\s?dr\b
    |\bworum|\bwovon|\bhandelt|\bzusammen|\bpassiert|\bgeschieht|\bthem(?:a|en)\b|\binhalt|\büberblick
    |\bgezeigt|\bgesagt|\bbehandelt|\bbesprochen
    |\bparle|\brésum|\bsujet|\bthème|\bpasse|\braconte|\baperçu
    |\btrata|\bresum|\bresúm|\btemas?\b|\bpasa\b|\bocurre|\bsucede|\bcuenta
    """,
    re.IGNORECASE | re.VERBOSE,
)
_TOPICS = re.compile(
    r"\b(?:topics?|themes?|subjects?|(?:main|key) points?|themen|thema|sujets?|thèmes?|temas?)\b",
    re.IGNORECASE,
)
_VIDEOS = re.compile(
    r"""
    \b(?:in\s+)?(?:which|what)\s+(?:of\s+(?:the|my|these)\s+)?
    (?:videos?|films?|movies?|recordings?|lectures?|talks?|clips?|files?)\b
    (?:\s+(?:do|does|is|are|there|that|you|we|i|talks?|speaks?|tells?|mentions?|shows?|have|has
      |contains?|discuss(?:es)?|deals?|covers?|explains?|about|on|of|with)\b)*
    |\b(?:in\s+)?welche[rsnm]?\s+(?:videos?|filme?n?|aufnahmen?|vortr[aä]ge?n?)\b
    |\b(?:dans\s+)?quel(?:le)?s?\s+(?:vidéos?|films?)\b
    |\b(?:en\s+)?(?:qué|cuáles)\s+(?:vídeos?|videos?|películas?)\b
    """,
    re.IGNORECASE | re.VERBOSE,
)
_HALVES = (
    ((0.0, 0.5), r"first\s+half|erste[nr]?\s+hälfte|première\s+moitié|primera\s+mitad"),
    ((0.5, 1.0), r"(?:second|last|latter)\s+half|(?:zweite|letzte)[nr]?\s+hälfte"
                 r"|(?:deuxième|seconde)\s+moitié|segunda\s+mitad"),
    ((0.0, 1 / 3), r"first\s+third|erste[ns]?\s+drittel|premier\s+tiers|primer\s+tercio"),
    ((2 / 3, 1.0), r"last\s+third|letzte[ns]?\s+drittel|dernier\s+tiers|último\s+tercio"),
)  # fmt: skip
_ENDS = (
    ((1 - FIRST_SHARE, 1.0), r"(?:at|in|near|towards?|by)\s+the\s+(?:very\s+)?end(?:ing)?\b"
                             r"|how\s+does\s+(?:it|the\s+\w+|this\s+\w+)\s+end|am\s+(?:ende|schluss)"
                             r"|zum\s+schluss|à\s+la\s+fin|al\s+final"),
    ((0.0, FIRST_SHARE), r"(?:at|in|from)\s+the\s+(?:very\s+)?(?:start|beginning|opening)\b"
                         r"|how\s+does\s+(?:it|the\s+\w+|this\s+\w+)\s+(?:start|begin)"
                         r"|(?:am|zu)\s+(?:anfang|beginn)|au\s+début|al\s+(?:principio|comienzo)"),
    ((0.4, 0.6), r"in\s+the\s+middle|in\s+der\s+mitte|au\s+milieu|en\s+(?:el\s+)?medio"),
)  # fmt: skip
_CLOCK = r"\d{1,3}:\d{2}(?::\d{2})?"
_BETWEEN = re.compile(
    rf"({_CLOCK})\s*(?:-|–|—|to|and|bis|und|à|et|a|y)\s*({_CLOCK})", re.IGNORECASE
)
_AT = re.compile(rf"\b(?P<word>after|nach|après|después\s+de|before|vor|avant|antes\s+de)?\s*"
                 rf"(?P<time>{_CLOCK})", re.IGNORECASE)  # fmt: skip
_MINUTES = re.compile(
    r"\b(?P<which>first|last|ersten|letzten|premières|dernières|primeros|últimos)\s+"
    r"(?:(?P<num>\d{1,3}|two|three|five|ten|zwei|drei|fünf|zehn|deux|trois|cinq|dix|dos|tres|diez)\s+)?"
    r"(?P<unit>minutes?|seconds?|minuten?|sekunden?|secondes?|minutos?|segundos?)\b",
    re.IGNORECASE,
)
_AFTER_MINUTES = re.compile(
    r"\b(?P<word>at|in|after|bei|in|nach|à|après|a|después\s+de)\s+(?:the\s+|der\s+|la\s+|los\s+)?"
    r"(?:minute\s+(?P<a>\d{1,3})|(?P<b>\d{1,3})\s+(?:minutes?|minuten|minutos))\b",
    re.IGNORECASE,
)
_NUMBERS = {
    "two": 2, "zwei": 2, "deux": 2, "dos": 2, "three": 3, "drei": 3, "trois": 3, "tres": 3,
    "five": 5, "fünf": 5, "cinq": 5, "ten": 10, "zehn": 10, "dix": 10, "diez": 10,
}  # fmt: skip
_LAST = ("last", "letzten", "dernières", "últimos")
_AFTER = ("after", "nach", "après", "después de")
_BEFORE = ("before", "vor", "avant", "antes de")


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A part of a video's time: of its duration as shares, or in seconds; `end_s` may be open.

    Seconds below 0 count from the end.
    """

    start: float
    end: float | None
    in_seconds: bool = False

    def of(self, duration_s: float) -> tuple[float, float]:
        """Return [start_s, end_s) of a video; empty where the video is over before."""
        if not self.in_seconds:
            return self.start * duration_s, (1.0 if self.end is None else self.end) * duration_s
        start_s = self.start if self.start >= 0 else max(0.0, duration_s + self.start)
        end_s = duration_s if self.end is None else min(self.end, duration_s)
        return start_s, end_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """What a question asks for, and the part of the time that it names, None for all of it."""

    kind: Kind = "matter"
    part: Part | None = None

    @classmethod
    def of(cls, question: str) -> Reach:
        """Return the reach of a question in words.

        >>> Reach.of("What is this video about?").kind, Reach.of("Who is the king?").kind
        ('whole', 'matter')
        >>> Reach.of("Summarise the second half.").part.of(600.0)
        (300.0, 600.0)
        """
        words = " ".join(question.split())
        part = _part(words)
        if _VIDEOS.search(words):
            return cls(kind="videos", part=part)
        if _is_whole(words, part):
            return cls(kind="topics" if _TOPICS.search(words) else "whole", part=part)
        return cls(kind="matter", part=part)

    def matter(self, question: str) -> str:
        """Return a question about videos without its asking words, others as they are."""
        rest = _VIDEOS.sub(" ", question) if self.kind == "videos" else question
        return " ".join(rest.split()) or question


def _is_whole(words: str, part: Part | None) -> bool:
    named = [word for word in same_words(words).split() if not word.isdigit()]
    if not named or any(word not in _WHOLE_WORDS for word in named):
        return False
    return bool(part or _NAMES_THE_WHOLE.search(words))


def _part(words: str) -> Part | None:
    between = _BETWEEN.search(words)
    if between:
        low, high = sorted(map(_seconds, between.groups()))
        return Part(start=low, end=high, in_seconds=True)
    return _at_a_time(words) or _of_minutes(words) or _of_shares(words)


def _at_a_time(words: str) -> Part | None:
    clock, minutes = _AT.search(words), _AFTER_MINUTES.search(words)
    if clock:
        time_s, word = _seconds(clock["time"]), clock["word"]
    elif minutes:
        time_s, word = 60.0 * int(minutes["a"] or minutes["b"]), minutes["word"]
    else:
        return None
    word = " ".join((word or "").lower().split())
    if word in _AFTER:
        return Part(start=time_s, end=None, in_seconds=True)
    if word in _BEFORE:
        return Part(start=0.0, end=time_s, in_seconds=True)
    return Part(start=max(0.0, time_s - NEAR_A_TIME_S), end=time_s + NEAR_A_TIME_S, in_seconds=True)


def _of_minutes(words: str) -> Part | None:
    found = _MINUTES.search(words)
    if found is None:
        return None
    named = (found["num"] or "1").lower()
    num = _NUMBERS.get(named) or float(named)
    length_s = num * (1 if found["unit"].lower().startswith("se") else 60)
    if found["which"].lower() in _LAST:
        return Part(start=-length_s, end=None, in_seconds=True)
    return Part(start=0.0, end=length_s, in_seconds=True)


def _of_shares(words: str) -> Part | None:
    for (start, end), pattern in (*_HALVES, *_ENDS):
        if re.search(rf"\b(?:{pattern})", words, re.IGNORECASE):
            return Part(start=start, end=end)
    return None


def _seconds(clock: str) -> float:
    total = 0.0
    for number in clock.split(":"):
        total = 60 * total + int(number)
    return total
