"""Decode text files of unknown encoding."""

from __future__ import annotations

from dataclasses import dataclass

# Legacy encodings of subtitle files, with their common names.
NAMES = {
    "cp1250": "Windows-1250",
    "cp1251": "Windows-1251",
    "cp1252": "Windows-1252",
    "cp1253": "Windows-1253",
    "cp1254": "Windows-1254",
    "cp1255": "Windows-1255",
    "cp1256": "Windows-1256",
    "cp1257": "Windows-1257",
    "cp1258": "Windows-1258",
    "cp866": "DOS-866",
    "cp874": "Windows-874",
    "koi8_r": "KOI8-R",
    "cp932": "Shift_JIS",
    "euc_jp": "EUC-JP",
    "gb18030": "GB18030",
    "big5": "Big5",
    "cp949": "EUC-KR",
}
# Not guessed without the language: too similar to the other Latin code pages.
_ONLY_BY_LANGUAGE = {"cp1257", "cp1258"}
_BY_LANGUAGE = {
    **dict.fromkeys("ru uk be bg mk".split(), ("cp1251", "koi8_r", "cp866")),
    "sr": ("cp1250", "cp1251"),
    **dict.fromkeys("pl cs sk hu hr sl ro bs sq".split(), ("cp1250",)),
    **dict.fromkeys("lt lv et".split(), ("cp1257",)),
    **dict.fromkeys("ar fa ur".split(), ("cp1256",)),
    **dict.fromkeys("tr az".split(), ("cp1254",)),
    **dict.fromkeys(
        "en de fr es pt it nl da sv no nb nn fi is ga ca eu gl af id".split(), ("cp1252",)
    ),
    "el": ("cp1253",),
    "he": ("cp1255",),
    "vi": ("cp1258",),
    "th": ("cp874",),
    "ja": ("cp932", "euc_jp"),
    "zh": ("gb18030", "big5"),
    "ko": ("cp949",),
}
_LATIN = ("cp1252", "cp1250", "cp1254")
_TURKISH = (b"\xfd", b"\xf0", b"\xfe")  # ı, ğ and ş; in Icelandic ý, ð and þ
_ICELANDIC = (b"\xe1", b"\xed")  # á and í
_CENTRAL = (b"\xb3", b"\xb9", b"\xbf", b"\xf5", b"\xfb", b"\xec", b"\xf8")
_WESTERN_WORDS = frozenset(
    "the and is der die und ist les des est une que para com uma los che non per het een och det "
    "som er ja on du la le il di".split()
)
_CENTRAL_WORDS = frozenset(
    "je na nie jest co si este nu az egy nem hogy da ne to do jsem ale sie za w z po su".split()
)
_BOMS = ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"))
SAMPLE_BYTES = 64 << 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Decoded:
    """Decoded text. `guessed` names the encoding if it is a guess; `num_damaged` counts U+FFFD."""

    text: str
    guessed: str = ""
    num_damaged: int = 0


def decode_text(data: bytes, *, language: str = "") -> Decoded:
    """Decode bytes by the byte order mark, else as UTF-16 or UTF-8, else in a guessed encoding.

    `language` (ISO 639-1, "" for unknown) narrows the guess. UTF-8 with a few damaged characters
    is still UTF-8. Never fails: undecodable bytes become U+FFFD.
    """
    for mark, encoding in _BOMS:
        if data.startswith(mark):
            return _decoded(data, encoding)
    if encoding := _utf16_without_mark(data):
        return _decoded(data, encoding)
    as_utf8 = _decoded(data, "utf-8")
    if as_utf8.num_damaged * 10 <= _num_special(as_utf8.text):
        return as_utf8
    encoding = _guess(data, language)
    return Decoded(text=data.decode(encoding, errors="replace"), guessed=NAMES[encoding])


def _decoded(data: bytes, encoding: str) -> Decoded:
    text = data.decode(encoding, errors="replace")
    return Decoded(text=text, num_damaged=text.count("\ufffd"))


def _num_special(text: str) -> int:
    return len(text) - len(text.encode("ascii", errors="ignore"))


def _utf16_without_mark(data: bytes) -> str:
    """Return the UTF-16 variant that the zero bytes of ASCII characters indicate, or ""."""
    head = data[:4096]
    even, odd = head[0::2].count(0), head[1::2].count(0)
    if max(even, odd) * 20 < len(head) or min(even, odd) * 10 > max(even, odd) or not head:
        return ""  # no zero bytes: no UTF-16; zeros everywhere: a binary file
    return "utf-16-le" if odd > even else "utf-16-be"


def _guess(data: bytes, language: str) -> str:
    """Return the most probable legacy encoding; cp1252 if none fits."""
    from charset_normalizer import from_bytes

    sample = _special_lines(data)
    usual = _BY_LANGUAGE.get(language, ())
    fitting = [encoding for encoding in usual if _fits(sample, encoding)]
    if len(fitting) == 1:
        return fitting[0]
    isolation = fitting or [name for name in NAMES if name not in _ONLY_BY_LANGUAGE]
    matches = from_bytes(sample, cp_isolation=isolation)
    best = matches.best()
    if best is None or best.encoding not in NAMES:
        return "cp1252"
    possible = {name for match in matches for name in match.could_be_from_charset}
    if fitting or best.encoding not in _LATIN or "cp1252" not in possible:
        return best.encoding
    return _latin(sample)


def _special_lines(data: bytes) -> bytes:
    """Return the non-ASCII lines, about SAMPLE_BYTES: the others carry no information."""
    lines, size = [], 0
    for line in data.split(b"\n"):
        if not line.isascii():
            lines.append(line[:SAMPLE_BYTES])
            size += len(line)
        if size > SAMPLE_BYTES:
            break
    return b"\n".join(lines)


def _fits(sample: bytes, encoding: str) -> bool:
    try:
        sample.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True


def _latin(sample: bytes) -> str:
    """Choose between Latin code pages, in which every byte is a letter, by common words."""
    if all(map(sample.count, _TURKISH)) and not any(map(sample.count, _ICELANDIC)):
        return "cp1254"
    words = sample.decode("ascii", errors="replace").lower().split()
    western = sum(word in _WESTERN_WORDS for word in words)
    central = sum(word in _CENTRAL_WORDS for word in words)
    if western == central:  # letters in Polish, Czech and Hungarian, signs in Western files
        central += sum(map(sample.count, _CENTRAL)) * 100 > len(sample)
    return "cp1250" if central > western and _fits(sample, "cp1250") else "cp1252"
