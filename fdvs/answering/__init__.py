"""Answers to questions: what may be said, what it rests on, and when to say that nothing does."""
