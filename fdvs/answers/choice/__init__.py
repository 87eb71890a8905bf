"""Multiple choice: which option the evidence supports."""
