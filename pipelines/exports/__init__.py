"""Exports of a story for other programs: subtitles, chapter marks, edit lists, documents, clips."""
