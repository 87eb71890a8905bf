"""What every object that holds files open shares: `with` closes it."""

from __future__ import annotations

from types import TracebackType
from typing import Self


class Closing:
    """Gives `with` to a class that has `close()`."""

    def close(self) -> None:
        """Let go of what is open; closing twice is fine."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
