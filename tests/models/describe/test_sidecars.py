"""Which files beside a video are its subtitles, and what their names say of them."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest

from fdvs.models.describe.languages import language_code
from fdvs.models.describe.sidecars import Tags, find_sidecars, read_tags


def put(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def found(folder: Path, video: str, *names: str) -> list[str]:
    put(folder, video, *names)
    return [sidecar.name for sidecar in find_sidecars(folder / video).files]


@pytest.mark.parametrize(
    ("name", "tags"),
    [
        ("film.srt", Tags()),
        ("film.en.srt", Tags(language="en")),
        ("film.eng.forced.srt", Tags(language="en", is_forced=True)),
        ("film.foreign.fr.srt", Tags(language="fr", is_forced=True)),
        ("film.pt-BR.sdh.srt", Tags(language="pt", is_sdh=True)),
        ("film.zh-Hans-CN.vtt", Tags(language="zh")),
        ("film.es-419.vtt", Tags(language="es")),
        ("film.en-orig.vtt", Tags(language="en")),
        ("film.cc.vtt", Tags(is_sdh=True)),
        ("film.default.en.ass", Tags(language="en", is_default=True)),
        ("film.english.srt", Tags(language="en")),
        ("film.English [SDH].srt", Tags(language="en", is_sdh=True)),
        ("film.hi.srt", Tags(language="hi")),
        ("film.en.hi.srt", Tags(language="en", is_sdh=True)),
        ("film.zh.en.srt", Tags(language="en")),
        ("film.en.2.srt", Tags(language="en")),
        ("film.mp4.SRT", Tags()),
        ("FILM.En.Srt", Tags(language="en")),
        ("Subs/film.en.srt", Tags(language="en")),
        ("subtitles/film.srt", Tags()),
        ("Subs/film/2_English.srt", Tags(language="en")),
        ("Subs/film/film.de.srt", Tags(language="de")),
        ("Subs/3_French.srt", Tags(language="fr")),
        ("film.lrc", Tags()),
        ("film.ssa", Tags()),
        ("film.sub", Tags()),
        ("film.sbv", Tags()),
    ],
)
def test_a_name_that_players_know_is_found_and_read(tmp_path: Path, name: str, tags: Tags) -> None:
    put(tmp_path, "film.mp4", name)
    (only,) = find_sidecars(tmp_path / "film.mp4").files
    assert (only.name, only.path, only.tags) == (name, tmp_path / name, tags)


@pytest.mark.parametrize(
    "name",
    ["film2.srt", "film two.srt", "other.srt", "film.txt", "film.nfo", "Subs/film2.en.srt", "srt"],
)
def test_other_files_are_left_alone_without_a_note(tmp_path: Path, name: str) -> None:
    put(tmp_path, "film.mp4", name)
    assert find_sidecars(tmp_path / "film.mp4") == find_sidecars(tmp_path / "nowhere" / "x.mp4")


@pytest.mark.parametrize("name", ["film.part2.srt", "film.a.b.c.srt", "film..srt", "film.7.srt"])
def test_an_unknown_tag_is_not_trusted_but_named(tmp_path: Path, name: str) -> None:
    put(tmp_path, "film.mp4", name)
    got = find_sidecars(tmp_path / "film.mp4")
    assert got.files == ()
    assert len(got.notes) == 1
    assert name in got.notes[0]
    assert "rename it to film.srt" in got.notes[0]


@pytest.mark.parametrize("part", ["part2", "en", "2"])
def test_the_longest_name_of_a_video_has_the_file(tmp_path: Path, part: str) -> None:
    put(tmp_path, "talk.mp4", f"talk.{part}.mp4", f"talk.{part}.srt")
    assert find_sidecars(tmp_path / "talk.mp4") == find_sidecars(tmp_path / "none.mp4")
    (own,) = find_sidecars(tmp_path / f"talk.{part}.mp4").files
    assert own.name == f"talk.{part}.srt"


def test_names_that_differ_in_case_are_two_videos_with_their_own_files(tmp_path: Path) -> None:
    names = ["Talk.srt", "talk.srt"]
    put(tmp_path, "Talk.mp4", "talk.mp4", *names)
    if len(list(tmp_path.iterdir())) != 4:
        pytest.skip("this file system does not tell case apart")
    for video in ("Talk", "talk"):
        (own,) = find_sidecars(tmp_path / f"{video}.mp4").files
        assert own.name == f"{video}.srt"


def test_two_containers_of_one_name_share_the_file(tmp_path: Path) -> None:
    assert found(tmp_path, "film.mkv", "film.mp4", "film.srt") == ["film.srt"]
    assert found(tmp_path, "film.mp4", "film.mp4.srt") == ["film.mp4.srt", "film.srt"]
    assert found(tmp_path, "film.mkv") == ["film.srt"]


def test_tags_alone_in_subs_belong_to_the_only_video(tmp_path: Path) -> None:
    assert found(tmp_path, "a.mp4", "Subs/2_English.srt") == ["Subs/2_English.srt"]
    put(tmp_path, "b.mp4", "Subs/a/3_German.srt")
    assert [x.name for x in find_sidecars(tmp_path / "a.mp4").files] == ["Subs/a/3_German.srt"]
    assert find_sidecars(tmp_path / "b.mp4").files == ()


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_composed_and_decomposed_letters_are_one_name(tmp_path: Path, form: str) -> None:
    other = {"NFC": "NFD", "NFD": "NFC"}[form]
    video = unicodedata.normalize(form, "Café Müller – Ångström.mp4")
    name = unicodedata.normalize(other, "Café Müller – Ångström.en.srt")
    assert found(tmp_path, video, name) == [name]


@pytest.mark.parametrize(
    "stem",
    ["a.b", "[x] (1)", "100%", "*?", "-", "'q\"", "tab\tname", "日本語", "🎬 film", "x" * 200, "ß"],
)
def test_odd_names_are_plain_names(tmp_path: Path, stem: str) -> None:
    assert found(tmp_path, f"{stem}.mp4", f"{stem}.en.srt", "z.srt") == [f"{stem}.en.srt"]


def test_a_name_that_is_not_utf8_is_found_and_can_be_shown(tmp_path: Path) -> None:
    video = tmp_path / "caf\udce9.mp4"
    try:
        put(tmp_path, video.name, "caf\udce9.en.srt", "caf\udce9.zz.srt")
    except (OSError, UnicodeError):
        pytest.skip("this file system takes UTF-8 only")
    got = find_sidecars(video)
    assert [x.path for x in got.files] == [tmp_path / "caf\udce9.en.srt"]
    assert got.notes[0].isprintable()


def test_pictures_of_text_and_unread_formats_get_a_note(tmp_path: Path) -> None:
    put(tmp_path, "film.mkv", "film.sub", "film.idx", "film.en.sup", "film.ttml", "film.smi")
    got = find_sidecars(tmp_path / "film.mkv")
    assert got.files == ()
    assert [note.split()[0] for note in got.notes] == [
        "film.en.sup",
        "film.idx",
        "film.smi",
        "film.ttml",
    ]
    assert all(".srt" in note for note in got.notes)


def test_a_folder_or_a_missing_folder_is_no_subtitle_file(tmp_path: Path) -> None:
    (tmp_path / "film.srt").mkdir()
    (tmp_path / "Subs").touch()
    assert find_sidecars(tmp_path / "film.mp4").files == ()
    assert find_sidecars(tmp_path / "nowhere" / "film.mp4").files == ()


@pytest.mark.parametrize("parts", [["part2"], [""], ["en", "cut"], ["1"], ["directors", "cut"]])
def test_a_part_that_is_no_tag_makes_the_name_another(parts: list[str]) -> None:
    assert read_tags(parts) is None


def test_codes_names_and_regions_are_one_language() -> None:
    tags = ["de", "GER", "deu", "German", "Deutsch", "de-AT", "de_CH", " de "]
    assert {language_code(tag) for tag in tags} == {"de"}
    assert {language_code(tag) for tag in ("", "und", "xx", "part", "e", "english2")} == {""}
