"""NExT-QA, multiple choice: questions about everyday videos, with captions once a second.

Files: `val.csv` (video, question, answer, qid, type, a0..a4 and more) and
`nextqa_allcaps_1fps.zip`, one member `ID_cap.json` a video = {"0": caption, "1": ...}: caption i
covers [i, i + 1). Paper: Xiao et al., arXiv 2105.08276. Captions: VideoAgent, arXiv 2403.10517.

A zip can lie about sizes and can expand without end. The number of members, the bytes that each
gives and the seconds it names are all bounded; only the videos asked for are read, in memory.
"""

from __future__ import annotations

import io
import re
import zipfile
import zlib
from collections.abc import Collection, Mapping
from pathlib import Path, PurePosixPath

from fdvs.datasets import checks
from fdvs.datasets.examples import Caption, ChoiceQuestion, Parsed
from fdvs.datasets.files import (
    MAX_CHARS,
    Record,
    csv_records,
    decode,
    json_object,
    parse_json,
    plain_text,
    read_bytes,
)
from fdvs.errors import DataError

NUM_OPTIONS = 5
# Causal (why, how), temporal (current, next, previous), descriptive (count, location, other).
KINDS = ("CW", "CH", "TC", "TN", "TP", "DC", "DL", "DO")
_OPTIONS = tuple(f"a{i}" for i in range(NUM_OPTIONS))
COLUMNS = ("video", "question", "answer", "qid", "type", *_OPTIONS)
ENDING = "_cap.json"
MAX_MEMBERS = 20_000
MAX_MEMBER_BYTES = 4 * 2**20
# A day of captions, one a second.
MAX_SECONDS = 86_400


def parse(files: Mapping[str, Path], split: str) -> Parsed:
    """Read the questions; ids are `video_qid` as in the official predictions."""
    path = files["questions"]
    choices = [_question(record) for record in csv_records(path, COLUMNS)]
    checks.unique((question.id for question in choices), where=str(path))
    return Parsed(choices=choices)


def _question(record: Record) -> ChoiceQuestion:
    video_id = record.name("video")
    return ChoiceQuestion(
        id=f"{video_id}_{record.integer('qid', low=0, high=10**6)}",
        video_id=video_id,
        question=record.text("question"),
        options=tuple(record.text(field) for field in _OPTIONS),
        answer=record.integer("answer", low=0, high=NUM_OPTIONS - 1),
        kind=record.one_of("type", KINDS),
    )


def read_captions(
    path: Path, video_ids: Collection[str], *, most: int
) -> dict[str, tuple[Caption, ...]]:
    """Read the captions of some videos from the zip, in time order; absent ones are left out.

    Raises DataError for anything but such a zip, and for more than `most` captioned videos.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(read_bytes(path))) as archive:
            members = _members(archive, path)
            if len(members) > most:
                raise DataError(f"{path}: {len(members)} videos; the official file has {most}")
            return {
                one: parse_captions(
                    _read(archive, members[one], path), where=f"{path}, {members[one].filename}"
                )
                for one in video_ids
                if one in members
            }
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, ValueError) as error:
        raise DataError(f"{path}: not a sound zip ({error}); download the file anew") from None


def _members(archive: zipfile.ZipFile, path: Path) -> dict[str, zipfile.ZipInfo]:
    infos = archive.infolist()
    if len(infos) > MAX_MEMBERS:
        raise DataError(f"{path}: {len(infos)} members; at most {MAX_MEMBERS}")
    found: dict[str, zipfile.ZipInfo] = {}
    for info in infos:
        place = PurePosixPath(info.filename)
        # Archives made on a Mac carry a shadow `__MACOSX/._NAME` of every member.
        if not place.name.endswith(ENDING) or "__MACOSX" in place.parts:
            continue
        video_id = place.name.removesuffix(ENDING)
        if video_id in found:
            raise DataError(f"{path}: captions of {video_id[:80]!r} twice; expected each once")
        found[video_id] = info
    if not found:
        raise DataError(f"{path}: no member ID{ENDING}; expected one a video")
    return found


def _read(archive: zipfile.ZipFile, info: zipfile.ZipInfo, path: Path) -> str:
    where = f"{path}, {info.filename}"
    if info.flag_bits & 1:
        raise DataError(f"{where}: encrypted; expected a plain zip")
    with archive.open(info) as member:
        content = member.read(MAX_MEMBER_BYTES + 1)
    if len(content) > MAX_MEMBER_BYTES:
        raise DataError(f"{where}: over {MAX_MEMBER_BYTES} bytes")
    return decode(content, where=where)


def parse_captions(text: str, *, where: str) -> tuple[Caption, ...]:
    """Parse {"0": caption, "1": ...}: caption i covers [i, i + 1); empty ones are left out."""
    captions = []
    for key, value in json_object(parse_json(text, where=where), where=where).items():
        if not re.fullmatch(r"0|[1-9]\d{0,5}", key) or int(key) >= MAX_SECONDS:
            raise DataError(f"{where}: key {key[:40]!r}; expected a second, 0 to {MAX_SECONDS - 1}")
        if not isinstance(value, str) or len(value) > MAX_CHARS:
            raise DataError(f"{where}, caption {key}: expected a text up to {MAX_CHARS} long")
        if words := plain_text(value):
            captions.append(Caption(start_s=int(key), end_s=int(key) + 1, text=words))
    if not captions:
        raise DataError(f"{where}: no caption with words; expected one a second")
    return tuple(sorted(captions, key=lambda caption: caption.start_s))
