"""Words without content in languages other than English, and which language a text is in.

Only for what is shown, such as titles: searches and answers weigh words by how rare they are.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Set

from fdvs.text.vocabulary import STOP_WORDS, same_words

_LISTS = {
    "de": """
aber alle allem allen aller alles als also am an andere anderen auch auf aus bei beim bereits bis
bin bist da dabei dadurch dafür damit dann daran darauf das dass dein dem den denn der deren des
dessen deshalb die dies diese diesem diesen dieser dieses doch dort du durch eher ein eine einem
einen einer eines einige einigen er es etwa etwas euch euer für ganz ganze ganzen gegen gibt hat
hatte hatten haben heute hier ich ihm ihn ihnen ihr ihre ihrem ihren ihrer im immer in ins ist ja
jede jedem jeden jeder jedes jetzt kann kein keine keinen können lang langsam machen man mehr mein
meine meist meisten mich mir mit muss nach nein nicht nichts nie noch nun nur ob oder ohne sehr
sein seine seinem seinen seiner seit selbst sich sie sind so sobald sodass sogar soll sondern
sowie um und uns unser unter vielen viel viele vom von vor wann war waren warum was weil weiter
welche wenn wer werden wie wieder wir wird wo wurde wurden würde zu zum zur zwischen zwei über
""",
    "fr": """
à ai alors au aucun aussi autre autres aux avec avoir avant bien c car ce cela ces cet cette ceux
chaque ci comme comment d dans de des deux donc dont du elle elles en encore entre est et été être
eu fait faire il ils j je jusqu l la le les leur leurs lui mais me même mes moins mon n ne nos
notre nous on ont ou où par parce pas peu peut plus pour pourquoi qu quand que quel quelle qui s
sa sans se ses si son sont sous sur t ta te tes ton tous tout toute toutes très tu un une vers vos
votre vous y
""",
    "es": """
a al algo antes aquí así aunque cada como con cual cuando de del desde donde dos durante e el ella
ellas ellos en entre era es esa ese eso esta está estaba están estas este esto estos fue ha hace
hacia han hasta hay la las le les lo los más me mi mientras mucho muchos muy nada ni no nos
nosotros o otra otras otro otros para pero poco por porque que qué quien se sea ser si sí sin sino
sobre solo son su sus también tan tanto te tiene tienen toda todas todo todos tu un una uno unos y
ya yo
""",
}  # fmt: skip
# words of English that say too little for a title
_VAGUE_WORDS = """
above add always away back below big bigger called come comes day different even every far get gets
give gives go goes good great half high keep keeps kind know known large less let like little long
look lot made make makes many may must need needs never new number often old part per place put
really say see seen set simple since small soon start still take takes than thing things today told
tell turn turns two use used uses want way ways well whole without year years
"""
WORDS: Mapping[str, Set[str]] = {
    "en": STOP_WORDS | frozenset(_VAGUE_WORDS.split()),
    **{language: frozenset(words.split()) for language, words in _LISTS.items()},
}


def language_of(texts: Iterable[str]) -> str:
    """Return the language whose stop words texts use most: en, de, fr or es; "" without any."""
    counts = Counter(word for text in texts for word in same_words(text).split())
    used = {
        language: sum(counts[word] for word in sorted(words)) for language, words in WORDS.items()
    }
    best = max(used, key=lambda language: used[language])
    return best if used[best] else ""


def stop_words_of(texts: Iterable[str]) -> Set[str]:
    """Return the stop words of the language of texts."""
    return WORDS.get(language_of(texts), frozenset())
