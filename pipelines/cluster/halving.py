"""Find the clip whose pictures end workers, by leaving out half of those it may be.

A file has ended a worker twice; it is built again without the pictures of the later half of its
suspected clips. Ends that a worker, too, then the clip is in the earlier half (behind what was
committed meanwhile), else in the later one. At last one clip is left out, and the rest is built.
"""

from __future__ import annotations

MAX_SUSPECTED = 256  # clips that can be on their way through the stages when a worker ends


class Halving:
    """The clips [first, end) of which one ends workers, and the clips left out in this try."""

    def __init__(self, first: int, num_clips: int) -> None:
        """`first` is the first clip that was not committed."""
        self._first = first
        self._end = min(num_clips, first + MAX_SUSPECTED)
        self._skipped = self._later_half()

    @property
    def skipped(self) -> frozenset[int]:
        """The clips without pictures in this try."""
        return frozenset(self._skipped)

    @property
    def is_found(self) -> bool:
        """Whether only one clip is left: if this try ends well, the file is built."""
        return self._end - self._first <= 1

    def died(self, first: int) -> bool:
        """This try ended a worker, with `first` not committed; return whether another may help."""
        if self.is_found:
            return False
        self._end = self._skipped.start
        self._first = min(max(self._first, first), self._end - 1)
        self._skipped = self._later_half()
        return True

    def lived(self) -> bool:
        """This try ended well; return whether the file is built but for one clip."""
        if self.is_found:
            return True
        self._first = self._skipped.start
        self._skipped = self._later_half()
        return False

    def _later_half(self) -> range:
        return range((self._first + self._end) // 2, self._end)
