"""The skeleton of a text: what it looks like to a reader, so that disguised words compare equal.

As in Unicode's confusables (UTS #39), but for whole texts and more kinds of disguise:
compatibility forms, look-alikes of Cyrillic, Greek, Armenian and Cherokee, small capitals, letters
in boxes and circles, accents, digits and signs that stand for letters, letters with spaces between
them. `i`, `l` and `1` become one letter, so both sides of a comparison have to be skeletons.
"""

from __future__ import annotations

import html
import re
import unicodedata
from functools import lru_cache

# Look-alike -> what it is read as; Only what no compatibility form tells.
_ALIKE_TEXT = """
а=a в=b с=c ԁ=d е=e ё=e ғ=f ց=g һ=h і=i ї=i ј=j к=k ӏ=i м=m н=h о=o р=p ԛ=q г=r ѕ=s т=t у=y ѵ=v
ԝ=w х=x ү=y ʜ=h з=3 б=6
α=a β=b ϲ=c δ=d ε=e η=n ι=i κ=k ν=v ο=o ρ=p σ=o ς=s τ=t υ=u χ=x γ=y ω=w μ=u
օ=o ս=u հ=h ո=n ռ=n զ=q ց=g ք=p ե=t ւ=i ա=w ӡ=3
ꭰ=d ꭱ=r ꭲ=t ꮃ=w ꮎ=o ꮪ=s ꮯ=c ꭼ=e ꮋ=h ꮮ=l ꮶ=k ꮑ=n ꮲ=p ꮩ=v ꭺ=a ꮇ=m
ı=i ȷ=j ɑ=a ɡ=g ɩ=i ɪ=i ɴ=n ʀ=r ʏ=y ʟ=l ʙ=b ɢ=g ᴀ=a ᴄ=c ᴅ=d ᴇ=e ᴊ=j ᴋ=k ᴍ=m ᴏ=o ᴘ=p ᴛ=t ᴜ=u ᴠ=v
ᴡ=w ᴢ=z ꜰ=f ꜱ=s ꞯ=q ø=o đ=d ħ=h ł=l ŧ=t ƚ=l ƞ=n ð=d þ=p ß=ss æ=ae œ=oe ƀ=b ɓ=b ɗ=d ɠ=g ɨ=i ɫ=l ɱ=m
ɲ=n ɵ=o ʋ=v
ⅼ=l ⅽ=c ⅾ=d ⅿ=m ǀ=i ∣=i ǃ=i ∕=/ ⁄=/ ‐=- ‑=- ‒=- –=- —=- ’=' ‘=' ʼ=' ＇=' `=' “=" ”=" „=" «=< »=>
‹=< ›=> 〈=< 〉=> 《=< 》=> ⟨=< ⟩=> ˂=< ˃=> ｜=| ￨=| ⏐=| │=| ∶=: ꞉=: ː=: ˸=: ׃=:
"""
_ALIKE = dict(pair.split("=", 1) for pair in _ALIKE_TEXT.split())
_IN_BOX = re.compile(r"(?:LATIN (?:CAPITAL |SMALL )?LETTER|INDICATOR SYMBOL LETTER) ([A-Z])$")
# What may stand for a letter inside of a word.
_LEET = str.maketrans("013456789@$!|+€", "oleasgtbgasllte")
_LEET_WORD = re.compile(r"(?<![^\W_])[\w@$!|+€]*[^\W\d_][\w@$!|+€]*", re.ASCII)
_MIXED = re.compile(r"[^\W\d_][013457]|[013457][^\W\d_]", re.ASCII)
_DIGITS = re.compile(r"(?<![^\W_])[0-9]{1,4}(?![^\W_])", re.ASCII)
MANY_MIXED = 3
# i g n o r e, i.g.n.o.r.e, i-g-n-o-r-e: at least four single letters
_SPACED = re.compile(r"(?<![^\W_])(?:[^\W_][\s._*·•/\\-]{1,3}){3,}[^\W_](?![^\W_])")
_APART = re.compile(r"[\s._*·•/\\-]+")
_HIDDEN = frozenset({"Mn", "Me", "Cf", "Cc", "Cs", "Co", "Cn"})


@lru_cache(maxsize=1 << 16)
def _letter(character: str) -> str:
    if character < "\x80":
        return character
    known = _ALIKE.get(character)
    if known is not None:
        return known
    boxed = _IN_BOX.search(unicodedata.name(character, ""))
    return boxed.group(1).lower() if boxed else character


def skeleton(text: str) -> str:
    """Return one lower-case line in which look-alikes are the same letters.

    >>> skeleton("Ignоre ᴀʟʟ") == skeleton("1gn0re a11")
    True
    """
    return _merged(_unspaced(folded(text)))


def folded(text: str) -> str:
    """Return the text before signs are read as letters and letters put together."""
    plain = html.unescape(text).casefold() if "&" in text else text.casefold()
    parts = unicodedata.normalize("NFKD", plain)
    if not parts.isascii():
        shown = (" " if c.isspace() else c for c in parts if _is_shown(c))
        parts = "".join(map(_letter, "".join(shown)))
    return " ".join(parts.split())


def _is_shown(character: str) -> bool:
    return character.isspace() or unicodedata.category(character) not in _HIDDEN


def _unspaced(text: str) -> str:
    return _SPACED.sub(lambda found: _APART.sub("", found.group()), text)


def _merged(text: str) -> str:
    """Read digits and signs inside of words as letters, and i, l as one letter.

    Where several words are written so, those of digits alone are read, too.
    """
    read = _LEET_WORD.sub(lambda found: _word(found.group()), text)
    if len(_MIXED.findall(text)) >= MANY_MIXED:
        read = _DIGITS.sub(lambda found: found.group().translate(_LEET), read)
    return read.replace("l", "i")


def _word(word: str) -> str:
    bare = word.rstrip("!|+")  # what stands behind a word ends a sentence
    return bare.translate(_LEET) + word[len(bare) :]


def is_spaced_out(text: str) -> bool:
    """Return whether a folded text has words whose letters stand apart."""
    return bool(_SPACED.search(text))


def squeezed(text: str) -> str:
    """Return the letters of a skeleton without anything between them."""
    return "".join(c for c in text if c.isalnum())
