"""The word table: any query is safe, and a table that is not sound is not used."""

from __future__ import annotations

import logging
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fdvs.search.fulltext import (
    MAX_QUERY_WORDS,
    TextRow,
    Words,
    match_expression,
    open_words,
    query_words,
)
from fdvs.store.store import Store

TEXTS = ["a red car", "Two RED Rabbits", "the café", "nothing", "AND NOT near OR"]
ROWS = [
    TextRow(key=(f"v{i % 2}", "chapter", i), text=text)
    for i, text in enumerate([*TEXTS, "a red car"])
]


def places(words: Words, query: str, **more: str) -> list[int]:
    return sorted(item for _, _, item in words.search(query, **more).scores)


@pytest.fixture
def store(tmp_path: Path):
    with Store.open(tmp_path / "library", create=True) as opened:
        yield opened


@pytest.fixture(scope="module")
def in_memory() -> Words:
    return Words(ROWS, "any", None)


def test_words_are_found_without_regard_to_case_accents_and_endings(in_memory: Words) -> None:
    assert places(in_memory, "rabbit") == [1]
    assert places(in_memory, "CAFE") == [2]
    assert places(in_memory, "cars") == [0, 5]
    assert places(in_memory, "zebra") == []


def test_full_hits_hold_every_telling_word(in_memory: Words) -> None:
    hits = in_memory.search("the red car")
    assert sorted(item for _, _, item in hits.scores) == [0, 1, 5]
    assert sorted(item for _, _, item in hits.full) == [0, 5]


def test_equal_texts_score_equal_and_a_better_match_higher(in_memory: Words) -> None:
    scores = in_memory.search("red car").scores
    assert scores["v0", "chapter", 0] == scores["v1", "chapter", 5]
    assert scores["v0", "chapter", 0] > scores["v1", "chapter", 1] > 0


def test_one_video_only(in_memory: Words) -> None:
    assert places(in_memory, "red", video_id="v1") == [1, 5]
    assert places(in_memory, "red", video_id="nobody") == []


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("and", [4]),
        ("NOT OR AND NEAR", [4]),
        ('"red" AND NOT car*', [0, 1, 5]),
        ("text:red", [0, 1, 5]),
        ("NEAR(red car, 2)", [0, 1, 4, 5]),
        ("^red -car +(", [0, 1, 5]),
        ('""""', []),
        ("* ^ : ( ) { } - + \\ ' ` ;", []),
        ("\x00 red \x00", [0, 1, 5]),
        ("🐇", []),
        ("", []),
        ("\ud800", []),
        ("red'); DROP TABLE words; --", [0, 1, 5]),
    ],
)
def test_operators_and_marks_are_only_text(
    in_memory: Words, query: str, expected: list[int]
) -> None:
    assert places(in_memory, query) == expected


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(query=st.text(max_size=200) | st.text(alphabet="\"*^:(){}+-ANDORNEAT \x00'", max_size=60))
def test_no_query_is_a_syntax_error(in_memory: Words, query: str) -> None:
    hits = in_memory.search(query)
    assert hits.full <= set(hits.scores)


@given(query=st.text(max_size=300))
def test_every_word_is_quoted_and_holds_no_quote(query: str) -> None:
    words = query_words(query)
    assert len(words) == len(set(words)) <= MAX_QUERY_WORDS
    assert match_expression(words, joined_by="OR").count('"') == 2 * len(words)


@settings(max_examples=100, deadline=None)
@given(
    words=st.lists(
        st.sampled_from(["red", "car", "rabbits", "two", "nothing"]), min_size=1, unique=True
    )
)
def test_hits_equal_a_scan_for_the_words(in_memory: Words, words: list[str]) -> None:
    texts = [row.text.lower().split() for row in ROWS]
    some = [i for i, text in enumerate(texts) if set(words) & set(text)]
    every = [i for i, text in enumerate(texts) if set(words) <= set(text)]
    hits = in_memory.search(" ".join(words))
    assert sorted(item for _, _, item in hits.scores) == some
    assert sorted(item for _, _, item in hits.full) == every


def test_ten_thousand_characters_are_cut_to_a_bounded_number_of_words(in_memory: Words) -> None:
    assert places(in_memory, "red " + " ".join(f"w{i}" for i in range(3000))) == [0, 1, 5]
    assert places(in_memory, "x" * 10_000) == []


def test_stop_words_count_only_where_there_is_nothing_else() -> None:
    assert query_words("who is the man in the car") == ["man", "car"]
    assert query_words("the who") == ["the", "who"]


# -- the stored table --------------------------------------------------------------------------


def table_of(store: Store) -> list[tuple[object, ...]]:
    with store.reading() as connection:
        query = "SELECT video_id, level, item, text FROM words ORDER BY rowid"
        return connection.execute(query).fetchall()


def test_the_table_is_built_once_and_then_used(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "fdvs.search.fulltext")
    for _ in range(2):
        words = open_words(store, ROWS)
        assert not words.is_in_memory
        assert places(words, "red") == [0, 1, 5]
    assert caplog.text.count("rebuilt") == 1
    assert table_of(store) == [(*row.key, row.text) for row in ROWS]


DAMAGES = {
    "a text changed": "UPDATE words SET text = 'blue' WHERE rowid = 1",
    "a text changed below": "UPDATE words_content SET c3 = 'blue' WHERE id = 1",
    "a row gone": "DELETE FROM words WHERE rowid = 2",
    "a row added": "INSERT INTO words VALUES ('v0', 'chapter', 9, 'red herring')",
    "half written": "DELETE FROM words_content WHERE id > 3",
    "index emptied": "DELETE FROM words_data",
    "index gone": "DROP TABLE words_data",
    "segments gone": "DROP TABLE words_idx",
    "content gone": "DROP TABLE words_content",
    "all gone": "DROP TABLE words",
    "another table": "DROP TABLE words; CREATE TABLE words (text)",
    "note gone": "DELETE FROM meta WHERE key = 'words_digest'",
    "note changed": "UPDATE meta SET value = '\"0\"' WHERE key = 'words_digest'",
    "blocks overwritten": "UPDATE words_data SET block = x'00' WHERE id > 10",
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES.keys())
def test_a_tampered_table_is_rebuilt(
    store: Store, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    open_words(store, ROWS)
    store.close()
    with sqlite3.connect(store.folder / "library.sqlite") as other:
        other.executescript(damage)
    other.close()
    caplog.set_level(logging.INFO, "fdvs.search.fulltext")
    with Store.open(store.folder) as again:
        words = open_words(again, ROWS)
        assert places(words, "red") == [0, 1, 5]
        assert not words.is_in_memory
        assert table_of(again) == [(*row.key, row.text) for row in ROWS]
        with again.reading() as connection:
            assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert "rebuilt" in caplog.text


def test_a_video_can_be_removed_though_the_table_is_beyond_loading(store: Store) -> None:
    sha256 = "ab" * 32
    store.add_video(video_id=sha256[:16], sha256=sha256, path=Path("/x.mp4"))
    open_words(store, ROWS)
    store.close()
    with sqlite3.connect(store.folder / "library.sqlite") as other:
        other.execute("DROP TABLE words_data")
    other.close()
    with Store.open(store.folder) as again:
        again.remove_video(sha256[:16])
        assert again.videos() == []
        assert not open_words(again, ROWS).is_in_memory


def test_changed_texts_make_the_table_stale(store: Store) -> None:
    open_words(store, ROWS)
    words = open_words(store, [*ROWS, TextRow(key=("v9", "story", 0), text="a zebra")])
    assert words.search("zebra").scores.keys() == {("v9", "story", 0)}
    assert not words.is_in_memory


def test_a_table_that_changes_under_a_loaded_index_is_left_for_one_in_memory(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "fdvs.search.fulltext")
    old = open_words(store, ROWS)
    with Store.open(store.folder) as other:
        open_words(other, ROWS[1:2])
    assert places(old, "red") == [0, 1, 5]
    assert old.is_in_memory
    assert "changed since" in caplog.text


HOLD = """
import sys
from pathlib import Path
from fdvs.store.store import Store
with Store.open(Path(sys.argv[1])) as store, store.build_lock():
    print("locked", flush=True)
    sys.stdin.readline()
"""


def test_while_another_process_builds_a_stale_table_is_replaced_in_memory(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "fdvs.search.fulltext")
    open_words(store, ROWS[:1])
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(store.folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as builder:
        assert builder.stdout is not None
        assert builder.stdout.readline() == "locked\n"
        sound, stale = open_words(store, ROWS[:1]), open_words(store, ROWS)
        builder.communicate("end\n")
    assert not sound.is_in_memory
    assert stale.is_in_memory
    assert places(stale, "red") == [0, 1, 5]
    assert f"process {builder.pid}" in caplog.text
    assert len(table_of(store)) == 1


def test_inside_the_own_build_lock_the_table_is_rebuilt(store: Store) -> None:
    with store.build_lock():
        assert not open_words(store, ROWS).is_in_memory


def test_a_library_that_cannot_be_written_is_searched_in_memory(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "is_read_only", True)
    words = open_words(store, ROWS)
    assert words.is_in_memory
    assert places(words, "red") == [0, 1, 5]


def test_a_full_disk_does_not_keep_from_searching(
    store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    real: Callable[..., None] = sys.modules["fdvs.search.fulltext"]._fill
    monkeypatch.setattr("fdvs.search.fulltext._fill", full)
    words = open_words(store, ROWS)
    monkeypatch.setattr("fdvs.search.fulltext._fill", real)
    assert words.is_in_memory
    assert places(words, "red") == [0, 1, 5]
    assert "disk is full" in caplog.text


def test_a_removed_video_s_texts_are_gone_from_the_table(store: Store) -> None:
    sha256 = "ab" * 32
    store.add_video(video_id=sha256[:16], sha256=sha256, path=Path("/x.mp4"))
    words = open_words(store, ROWS)
    store.remove_video(sha256[:16])
    with store.reading() as connection:
        query = "SELECT count(*) FROM sqlite_master WHERE name LIKE 'words%'"
        assert connection.execute(query).fetchone() == (0,)
    assert places(words, "red") == [0, 1, 5]
