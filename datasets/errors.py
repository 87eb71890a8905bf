"""What can be wrong with a benchmark's files; the message names file, record and what was due."""

from __future__ import annotations

from fdvs.errors import FdvsError


class DataError(FdvsError):
    """A dataset's file is missing, malformed, not this dataset's or not this split's."""


class AbsentData(DataError):
    """The dataset's files are not in the folder."""


class PartialData(DataError):
    """The files hold fewer records than the official ones, and nobody said that this is fine."""
