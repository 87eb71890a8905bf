"""What a question asks for: a number, a time, a person, a place, a colour or a reason.

A sentence that holds such a thing is more likely to be the answer than one that is merely near.
English, German, French and Spanish; a question in another language expects nothing.
"""

from __future__ import annotations

import re
from typing import Literal

Kind = Literal["", "number", "time", "person", "place", "reason", "colour"]

_NUMBER_WORDS = r"""
half two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen
seventeen eighteen nineteen twenty thirty forty fifty sixty seventy eighty ninety hundreds?
thousands? millions? dozens? twice once zwei drei vier fünf sechs sieben acht neun zehn elf zwölf
zwanzig dreißig vierzig fünfzig sechzig siebzig achtzig neunzig hundert tausend
\w+(?:zehn|zig|hundert|tausend) deux trois quatre cinq sept huit neuf dix douze vingt trente
quarante cinquante soixante cent mille dos tres cuatro cinco seis siete ocho nueve diez doce veinte
treinta cuarenta cincuenta cien mil
"""
_TIME_WORDS = r"""
january february march april may june july august september october november december monday
tuesday wednesday thursday friday saturday sunday yesterday tomorrow today tonight morning noon
evening night midnight century centuries years? months? weeks? days? hours? minutes? seconds?
decades? spring summer autumn winter o'clock januar februar märz mai juni juli oktober dezember
montag dienstag mittwoch donnerstag freitag samstag sonntag morgens? mittags? abends? jahre?n?
jahrhunderte? monate?n? wochen? tage?n? stunden? minuten? sekunden? frühling sommer herbst janvier
février mars avril juin juillet août septembre octobre novembre décembre lundi mardi mercredi jeudi
vendredi samedi dimanche siècles? années? ans? mois semaines? jours? heures? enero febrero marzo
abril mayo junio julio agosto septiembre octubre noviembre diciembre lunes martes miércoles jueves
viernes sábado domingo siglos? años? mes meses semanas? días? horas?
"""
_COLOURS = r"""
red green blue yellow black white brown gr[ae]y orange pink purple violet golden? silver turquoise
beige dark pale rote?[nrms]? grüne?[nrms]? blaue?[nrms]? gelbe?[nrms]? schwarze?[nrms]?
weiße?[nrms]? braune?[nrms]? graue?[nrms]? rosa lila rouges? verte?s? bleue?s? jaunes? noire?s?
blanc(?:he)?s? marron rojo verde azul amarill[oa] negr[oa] blanc[oa]
"""
_REASON_WORDS = r"""
because since therefore due cause[sd]? reasons? weil denn daher deshalb deswegen grund darum parce
puisque car donc raison porque pues razón debido
"""
_PLACE_WORDS = r"(?:in|at|on|near|from|to|into|inside|under|above|between|behind|along|im|an|am|auf"
_PLACE_WORDS += r"|aus|bei|nach|unter|über|zwischen|à|dans|sur|sous|près|en|sobre|bajo|entre)"


def _any_of(words: str) -> str:
    return "|".join(words.split())


_HOLDS: dict[Kind, re.Pattern[str]] = {
    "number": re.compile(rf"\d|\b(?:{_any_of(_NUMBER_WORDS)})\b", re.IGNORECASE),
    "time": re.compile(rf"\b(?:1\d\d\d|20\d\d|\d\d?:\d\d|{_any_of(_TIME_WORDS)})\b", re.IGNORECASE),
    "colour": re.compile(rf"\b(?:{_any_of(_COLOURS)})\b", re.IGNORECASE),
    "reason": re.compile(rf"\b(?:{_any_of(_REASON_WORDS)})\b", re.IGNORECASE),
    # a name: a capital that does not open the sentence
    "person": re.compile(
        r"(?<=[\w,;:] )(?!I\b)[^\W\d_a-zß-ÿ][\w'’]+|\b(?:he|she|they|er|sie|who)\b"
    ),
    "place": re.compile(
        rf"\b{_PLACE_WORDS}\s+(?:(?:the|an?|its?|their|der|die|das|dem|den|einem|einer|la|le|les|el"
        r"|los|las|un|une|una)\s+)?[^\W\d_]{3,}"
    ),
}
_ASKS: tuple[tuple[Kind, str], ...] = (
    ("colour", r"\b(?:what|which)\s+colou?r|\bwelche farbe|\bquelle couleur|\bde qué color"),
    (
        "time",
        r"\bwhen\s+(?:did|does|do|is|are|was|were|will|has|had|can|should)\b"
        r"|\b(?:what|which)\s+(?:year|time|day|month|date|century)\b|\bhow (?:long|old|often)\b"
        r"|\bwann\b|\bwie (?:lange|oft|alt)\b|\bquand\b|\bcombien de temps\b|\bcuándo\b"
        r"|\bin welchem jahr\b|\ben quelle année\b|\ben qué año\b",
    ),
    (
        "number",
        r"\bhow (?:many|much|high|hot|cold|far|fast|deep|big|large|tall|heavy|wide|thick)\b"
        r"|\bwhat (?:\w+ )?(?:temperature|percentage|share|number|price|speed|age|ratio|amount"
        r"|height|depth|weight)\b|\bwie (?:viel|viele|hoch|heiß|kalt|weit|schnell|tief|groß"
        r"|schwer|dick)\b|\bcombien\b|\bcuánt[oa]s?\b|\bwelche temperatur\b",
    ),
    ("person", r"\bwho(?:m|se)?\b|\bwe[rmn]\b|\bqui\b(?! est-ce que)|\bquién(?:es)?\b"),
    (
        "place",
        r"\bwhere\b|\bwo(?:her|hin)?\b|\boù\b|\b(?:a|de )?dónde\b"
        r"|\bin which (?:country|city|place)\b",
    ),
    (
        "reason",
        r"\bwhy\b|\bhow come\b|\bwarum\b|\bwieso\b|\bweshalb\b|\bpourquoi\b|\bpor qué\b"
        r"|\bwhat (?:causes?|is the reason)\b",
    ),
)


def expected(question: str) -> Kind:
    """Return what a question asks for, "" where its words do not say.

    >>> expected("How many lambs are there?"), expected("Wann starb sie?"), expected("What is it?")
    ('number', 'time', '')
    """
    return next((kind for kind, asks in _ASKS if re.search(asks, question, re.IGNORECASE)), "")


def holds(kind: Kind, sentence: str) -> bool:
    """Return whether a sentence holds something of that kind; True of the kind "".

    >>> holds("number", "Ninety sheep stand here."), holds("colour", "A car stands here.")
    (True, False)
    """
    return not kind or bool(_HOLDS[kind].search(sentence))
