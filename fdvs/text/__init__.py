"""Any text: made safe, cut into sentences and words, compared; time codes."""
