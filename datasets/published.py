"""What others published for a row, from the datasets' cards, each with its source."""

from __future__ import annotations

from fdvs.datasets.cards import Published, card_names, load_card

__all__ = ["Published", "published_for"]


def published_for(row: str) -> tuple[Published, ...]:
    """Return the published scores of a row in the order of the cards; none is an empty tuple."""
    return tuple(
        entry for name in card_names() for entry in load_card(name).published if entry.row == row
    )
