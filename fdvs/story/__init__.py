"""From observations to chapters, scenes and the story."""
