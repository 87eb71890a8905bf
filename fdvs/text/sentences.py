"""Split text into sentences, shorten and finish them.

A small rule of our own: the maintained libraries for this need native code or data files, and the
light ones are unmaintained. It only has to handle chapters: quotes stay whole, and common
abbreviations and initials do not end a sentence.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from fdvs.text.clean import CUT_MARK, clean_text
from fdvs.text.vocabulary import same_words

MAX_SENTENCES = 32  # of one chapter; captions have a few
MAX_PASSAGE_CHARS = 600  # embedders read a few hundred words
_ABBREVIATIONS_WORDS = """
mr mrs ms dr prof st jr sr vs no nos fig figs approx dept est etc al cf ca e.g i.e u.s u.k a.m p.m
jan feb mar apr jun jul aug sep sept oct nov dec vol pp inc ltd co
bzw usw ca nr abb bd hrsg evtl ggf inkl vgl mio mrd std sog bspw
"""
# what a German ordinal ("am 3. Mai") stands before
_AFTER_ORDINALS = frozenset(
    """
januar jänner februar märz april mai juni juli august september oktober november dezember
jahrhundert jahrhunderts jahrtausend jahrtausends klasse stock auflage kapitel platz weltkrieg
""".split()
)
_ABBREVIATIONS = frozenset(_ABBREVIATIONS_WORDS.split())
# a mark that may end a sentence with closing marks, and what must follow
_END = re.compile('(?:[.!?…]+["”’»)\\]]*(?=\\s)|[。！？]+[」』”]*)')
_OPENS = re.compile('["“‘«(\\[]*[^a-z\\s]')
_PAIRS = {"“": "”", "«": "»", "「": "」"}


def split_sentences(text: str) -> list[str]:
    """Return the sentences of a text in order, without empty ones.

    >>> split_sentences("Dr. Bo says: “Stop. Now.” Then he leaves.")
    ['Dr. Bo says: “Stop. Now.”', 'Then he leaves.']
    """
    quoted = _quoted(text)
    sentences, begin = [], 0
    for mark in _END.finditer(text):
        if mark.end() in quoted or not _ends(text, begin, mark):
            continue
        sentences.append(text[begin : mark.end()].strip())
        begin = mark.end()
    sentences.append(text[begin:].strip())
    return [s for s in sentences if s]


def sentences_of(text: str) -> list[str]:
    """Return the sentences of a chapter as passages hold them: bounded in number and length."""
    return [sentence[:MAX_PASSAGE_CHARS] for sentence in split_sentences(text)[:MAX_SENTENCES]]


def _quoted(text: str) -> set[int]:
    """Return the positions inside quotation marks that come in pairs and are closed."""
    inside: set[int] = set()
    for opening, closing in _PAIRS.items():
        for part in re.finditer(f"{opening}[^{opening}{closing}]*{closing}", text):
            inside.update(range(part.start() + 1, part.end()))
    for part in re.finditer(r'(?<!\w)"[^"]*"(?!\w)', text):
        inside.update(range(part.start() + 1, part.end()))
    return inside


def _ends(text: str, begin: int, mark: re.Match[str]) -> bool:
    if mark.group()[0] in "。！？":
        return True
    rest = text[mark.end() :].lstrip()
    if not _OPENS.match(rest):
        # recognisers go on in small letters; a quoted question is part of its sentence
        return bool(rest) and mark.group()[-1] in "?!"
    words = text[begin : mark.start()].split()
    if not mark.group().startswith(".") or not words:
        return True
    return not _is_abbreviated(words[-1].lstrip('("“‘«[').lower(), rest)


def _is_abbreviated(word: str, rest: str) -> bool:
    """Return whether the full stop behind a word shortens it, or makes it an ordinal."""
    if word == "no":  # "No. 5", but not "No. Then"
        return rest[:1].isdigit()
    if word.isdigit() and len(word) <= 2:
        return re.split(r"\W", rest, maxsplit=1)[0].lower() in _AFTER_ORDINALS
    is_initial = len(word) == 1 and word.isalpha() and word != "i"
    return is_initial or word in _ABBREVIATIONS


def finish(text: str) -> str:
    """Return the text as a sentence: first letter a capital, a mark at its end."""
    text = text.strip()
    if not text:
        return ""
    text = text[0].upper() + text[1:]
    return text if re.search('[.!?…。！？]["”’»)\\]」』]*$', text) else text + "."


def listed(items: Sequence[str]) -> str:
    """Return `a, b and c`."""
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"


def shorten(sentence: str, *, max_chars: int) -> str:
    """Return the sentence; if too long, cut at a word's end, marked, and a quote closed."""
    if len(sentence) <= max_chars:
        return sentence
    cut = clean_text(sentence, max_chars=max_chars - 1)
    return cut + "”" if cut.count("“") > cut.count("”") else cut


def drop_unfinished(text: str) -> str:
    """Return a reply that reached its limit, without its last, unfinished sentence.

    A single unfinished sentence is kept and marked, since it is all there is.
    """
    sentences = split_sentences(text)
    if len(sentences) > 1 and finish(sentences[-1]) != sentences[-1]:
        return " ".join(sentences[:-1])
    return text if not sentences or finish(text) == text else text + CUT_MARK


def unique_sentences(text: str) -> list[str]:
    """Return the sentences of a text without repetitions: small models repeat themselves."""
    seen: dict[str, str] = {}
    for sentence in split_sentences(text):
        seen.setdefault(same_words(sentence), sentence)
    return list(seen.values())
