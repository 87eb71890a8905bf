"""Notes for a person about what was recognised in a track: language, doubts, what was cut."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from fdvs.models.describe.speech_language import Language
from fdvs.models.describe.speech_text import Segment, Transcript, is_known_language
from fdvs.text.counts import counted
from fdvs.text.timecode import timecode

ENGLISH = "en"
# If a larger share of the speech is not English, the rest is not trusted.
MAX_FOREIGN = 0.5


@dataclass(slots=True)
class Report:
    """Collects notes and counts over the stretches of one track, from `start_s` on."""

    start_s: float
    min_probability: float
    language: Language | None = None
    _notes: list[str] = field(default_factory=list)
    _foreign: list[float] = field(default_factory=list)
    _num_sentences: int = 0
    _num_unsure: int = 0
    _num_repeated: int = 0
    _num_invented: int = 0

    def add(self, *notes: str) -> None:
        self._notes += notes

    def spoken(self, language: Language) -> None:
        """Note a language that is not English, is another than before, or is uncertain."""
        before, self.language = self.language, language
        if before and before.code == language.code:
            return
        if not language.is_sure:
            sure = f"{language.probability:.0%} sure; set the option language if it is another"
            self.add(f"the language of its speech is uncertain: taken as {language.name} ({sure})")
        elif language.code != ENGLISH or before:
            self.add(f"its speech is {language.name} ({language.probability:.0%} sure)")

    def known(self, segments: Sequence[Segment], start_s: float) -> list[Segment]:
        """Return the segments that a model of English understood; the others are noted."""
        known = [segment for segment in segments if is_known_language(segment)]
        all_s = sum(segment.length_s for segment in segments)
        if all_s - sum(segment.length_s for segment in known) > MAX_FOREIGN * all_s:
            known = []
        if len(known) < len(segments):
            foreign = [segment for segment in segments if segment not in known]
            self._foreign.append(start_s + foreign[0].words[0].start_s)
        return known

    def count(self, found: Transcript) -> None:
        unsure = [s for s in found.sentences if s.confidence < self.min_probability]
        self._num_sentences += len(found.sentences)
        self._num_unsure += len(unsure)
        self._num_repeated += found.num_repeated
        self._num_invented += found.num_invented

    def notes(self) -> tuple[str, ...]:
        """Return the notes since the last call."""
        found, self._notes = tuple(self._notes), []
        return found

    def last_notes(self) -> tuple[str, ...]:
        """Return the notes that are left, and those on the track as a whole."""
        since = f" from {timecode(self.start_s)} on" if self.start_s else ""
        if self._foreign:
            places = ", ".join(timecode(max(0.0, at_s)) for at_s in self._foreign[:5])
            self.add(
                f"speech that does not sound like English was left out (from {places}): this model "
                "knows only English; `fdvs models fetch speech-base` gets one that knows others"
            )
        elif not self._num_sentences:
            self.add(f"no speech was found in its sound{since}")
        if self._num_unsure:
            which = f"{self._num_unsure} of {counted(self._num_sentences, 'spoken sentence')}"
            verb = "is" if self._num_unsure == 1 else "are"
            sure = f"{self.min_probability:.0%}"
            self.add(f"{which}{since} {verb} uncertain (words below {sure} on average)")
        if self._num_repeated:
            self.add(_cut(self._num_repeated, f"that the recogniser repeated{since}"))
        if self._num_invented:
            self.add(_cut(self._num_invented, f"that it wrote where nobody speaks{since}"))
        return self.notes()


def _cut(number: int, which: str) -> str:
    return counted(number, f"word {which} was cut", f"words {which} were cut")
