"""Map the language tags of file names and containers to codes of ISO 639-1.

Only common languages: file names contain many short words that are not languages.
"""

from __future__ import annotations

import re

# The code of ISO 639-1, then codes of ISO 639-2 and names used in file names.
_LANGUAGES = """
af afr afrikaans, am amh amharic, ar ara arabic, az aze azerbaijani, be bel belarusian,
bg bul bulgarian, bn ben bengali bangla, bs bos bosnian, ca cat catalan, cs ces cze czech,
cy cym wel welsh, da dan danish dansk, de deu ger german deutsch, el ell gre greek,
en eng english, eo epo esperanto, es spa spanish español espanol castellano, et est estonian,
eu eus baq basque, fa fas per persian farsi, fi fin finnish suomi,
fr fra fre french français francais, ga gle irish, gl glg galician, gu guj gujarati,
he iw heb hebrew, hi hin hindi, hr hrv croatian hrvatski, hu hun hungarian magyar,
hy hye arm armenian, id ind indonesian, is isl ice icelandic, it ita italian italiano,
ja jpn jp japanese, ka kat geo georgian, kk kaz kazakh, km khm khmer, kn kan kannada,
ko kor kr korean, la lat latin, lo lao, lt lit lithuanian, lv lav latvian,
mk mkd mac macedonian, ml mal malayalam, mn mon mongolian, mr mar marathi, ms msa may malay,
my mya bur burmese, nb nob, ne nep nepali, nl nld dut dutch nederlands, nn nno,
no nor norwegian norsk, pa pan punjabi, pl pol polish polski, ps pus pashto,
pt por pob pb portuguese português portugues brazilian, ro ron rum romanian,
ru rus russian, si sin sinhala, sk slk slo slovak, sl slv slovenian, sq sqi alb albanian,
sr srp scc serbian, sv swe swedish svenska, sw swa swahili, ta tam tamil, te tel telugu,
th tha thai, tl tgl fil tagalog filipino, tr tur turkish türkçe, uk ukr ukrainian,
ur urd urdu, uz uzb uzbek, vi vie vietnamese, zh zho chi cmn yue chs cht chinese mandarin,
zu zul zulu
"""
_CODES = {
    name: names[0] for names in (entry.split() for entry in _LANGUAGES.split(",")) for name in names
}
# A code followed by script, region (es-419) or YouTube's -orig.
_SUBTAGS = re.compile(r"([a-z]{2,3})(?:[-_](?:[a-z]{2}|[a-z]{4}|\d{3}))+")


def language_code(tag: str) -> str:
    """Return the code of ISO 639-1 for a tag, "" if it is not a known language.

    >>> [language_code(tag) for tag in ("eng", "pt-BR", "German", "part2", "und")]
    ['en', 'pt', 'de', '', '']
    """
    tag = tag.strip().lower()
    with_region = _SUBTAGS.fullmatch(tag)
    return _CODES.get(with_region[1] if with_region else tag, "")


def language_name(code: str) -> str:
    """Return the English name of a code of ISO 639-1, or the code itself.

    >>> [language_name(code) for code in ("de", "pt", "yue")]
    ['German', 'Portuguese', 'yue']
    """
    for entry in _LANGUAGES.split(","):
        names = entry.split()
        if names[0] == code:
            return next((name.title() for name in names if len(name) > 3), code)
    return code
