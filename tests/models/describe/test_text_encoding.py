"""The encodings that subtitle files have, told apart by text whose truth is known."""

from __future__ import annotations

import random

import pytest

from fdvs.models.describe.text_encoding import NAMES, decode_text

SRT = "1\n00:00:01,000 --> 00:00:02,500\n{}\n\n"
GIRAFFE = {
    "ru": "Жираф ест зелёные листья\nСиний зонтик лежит под столом",
    "uk": "Жираф їсть зелене листя\nСиня парасолька лежить під столом",
    "de": "Die Giraffe frisst grüne Blätter\nDer Schirm liegt über dem Tisch",
    "fr": "La girafe mange des feuilles près du vieil arbre\nÇa a été très agréable",
    "pt": "Você não está à procura da girafa?\nCoração, ação e pão que não é amanhã",
    "es": "¿Dónde está la jirafa? Mañana comerá\nEl niño corrió rápido hacia el árbol",
    "pl": "Żyrafa je zielone liście przy drzewie\nNiebieski parasol leży pod stołem",
    "cs": "Žirafa žere zelené listí u stromu\nModrý deštník leží pod stolem, příliš",
    "hu": "A zsiráf zöld leveleket eszik az öreg fánál\nAz esernyő az asztal alatt fekszik, őszi",
    "el": "Η καμηλοπάρδαλη τρώει πράσινα φύλλα\nΗ ομπρέλα είναι κάτω από το τραπέζι",
    "tr": "Zürafa yaşlı ağacın yanında yaprak yiyor\nMavi şemsiye masanın altında, ığdır",
    "he": "הג'ירפה אוכלת עלים ירוקים ליד העץ\nהמטריה הכחולה מונחת מתחת לשולחן",
    "ar": "الزرافة تأكل أوراقا خضراء قرب الشجرة\nالمظلة الزرقاء تحت الطاولة",
    "th": "ยีราฟกินใบไม้สีเขียวใกล้ต้นไม้\nร่มสีฟ้าอยู่ใต้โต๊ะ",
    "ja": "キリンが古い木のそばで緑の葉を食べている\n青い傘がテーブルの下にある",
    "zh": "长颈鹿在老树旁吃绿叶\n蓝色的雨伞在桌子下面",
    "zh-Hant": "長頸鹿在老樹旁吃綠葉\n藍色的雨傘在桌子下面",
    "ko": "기린이 오래된 나무 옆에서 푸른 잎을 먹는다\n파란 우산이 탁자 밑에 있다",
    "lt": "Žirafa valgo žalius lapus prie medžio\nMėlynas skėtis guli po stalu",
}
OLD = [
    ("ru", "cp1251"), ("ru", "koi8_r"), ("ru", "cp866"), ("uk", "cp1251"), ("de", "cp1252"),
    ("fr", "cp1252"), ("pt", "cp1252"), ("es", "cp1252"), ("pl", "cp1250"), ("cs", "cp1250"),
    ("hu", "cp1250"), ("el", "cp1253"), ("tr", "cp1254"), ("he", "cp1255"), ("ar", "cp1256"),
    ("th", "cp874"), ("ja", "cp932"), ("ja", "euc_jp"), ("zh", "gb18030"), ("zh-Hant", "big5"),
    ("ko", "cp949"),
]  # fmt: skip


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("language", ["ru", "de", "ja"])
def test_unicode_is_read_without_guessing(language: str, encoding: str) -> None:
    text = SRT.format(GIRAFFE[language])
    decoded = decode_text(text.encode(encoding))
    assert (decoded.text, decoded.guessed, decoded.num_damaged) == (text, "", 0)


@pytest.mark.parametrize(("language", "encoding"), OLD)
@pytest.mark.parametrize("is_known", [True, False], ids=["known", "unknown"])
def test_an_old_encoding_of_two_subtitles_is_guessed(
    language: str, encoding: str, is_known: bool
) -> None:
    text = SRT.format(GIRAFFE[language])
    code = language[:2] if is_known else ""
    decoded = decode_text(text.encode(encoding), language=code)
    assert decoded.text == text
    assert decoded.guessed in NAMES.values()


def test_baltic_letters_are_read_where_the_language_is_known() -> None:
    text = SRT.format(GIRAFFE["lt"])
    assert decode_text(text.encode("cp1257"), language="lt").text == text


def test_a_wrong_language_in_the_name_does_not_decide() -> None:
    text = SRT.format(GIRAFFE["th"])
    assert decode_text(text.encode("cp874"), language="ja").text == text


def test_utf8_with_a_damaged_letter_stays_utf8_and_is_counted() -> None:
    text = SRT.format(GIRAFFE["ru"])
    data = bytearray(text.encode())
    data[data.index("ж".encode()[0], 60)] = 0x20
    decoded = decode_text(bytes(data))
    assert decoded.guessed == ""
    assert 1 <= decoded.num_damaged <= 2
    assert "зонтик лежит" in decoded.text or "зелёные листья" in decoded.text


def test_plain_text_empty_text_and_binary_never_fail() -> None:
    assert decode_text(b"").text == ""
    assert decode_text(b"hello").text == "hello"
    random.seed(1)
    for size in (1, 3, 100, 5000):
        data = random.randbytes(size)
        assert isinstance(decode_text(data).text, str)
    assert decode_text(b"\x00" * 5000).guessed == ""
