"""Words for the films: titles and banners on screen, spoken lines; no word is in two lists."""

from __future__ import annotations

TITLES: tuple[str, ...] = (
    "HARBOUR", "ORCHARD", "LANTERN", "GLACIER", "SADDLE", "COMPASS", "BAKERY", "TUNNEL",
    "VINEYARD", "LIBRARY", "MEADOW", "FACTORY", "CATHEDRAL", "DESERT", "THEATRE", "HOSPITAL",
    "VOLCANO", "STADIUM", "KITCHEN", "AIRPORT", "CASTLE", "MARKET", "WATERFALL", "MUSEUM",
    "PYRAMID", "SUBMARINE", "GARDEN", "BRIDGE", "WINDMILL", "RAILWAY", "PHARMACY", "PRISON",
    "SWAMP", "QUARRY", "CINEMA", "LAUNDRY", "CARNIVAL", "MONASTERY", "OBSERVATORY", "BARRACKS",
)  # fmt: skip

BANNERS: tuple[str, ...] = (
    "FIRE ALARM", "ROAD CLOSED", "NEW RECORD", "LAST CALL", "STORM WARNING", "TICKETS SOLD",
    "POWER FAILURE", "DOORS OPEN", "GOAL SCORED", "PLATFORM CHANGE", "WET PAINT", "FREE ENTRY",
)  # fmt: skip

SPOKEN: tuple[str, ...] = (
    "Remember to feed the horses.",
    "The office opens on Sunday.",
    "Please bring your own coffee.",
    "My brother works in London.",
    "The doctor called this morning.",
    "We are out of milk and sugar.",
    "The train to Berlin is late.",
    "She lost her yellow umbrella.",
    "Dinner is ready in ten minutes.",
    "The teacher forgot the keys.",
    "They bought a house near the river.",
    "It will snow on Monday.",
    "The band plays music tonight.",
    "He broke the bathroom window.",
    "The children are at school.",
    "Turn left at the corner.",
)
