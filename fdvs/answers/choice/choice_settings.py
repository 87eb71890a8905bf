"""The numbers that decide between options. Chosen once, applied unchanged to every question."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class ChoiceSettings:
    """Ten numbers, the same for every dataset and kind of question.

    Chosen by cross-validation by video on about half of EgoSchema's public questions (268) and of
    NExT-QA's validation questions (2,530, 285 videos), rounded; docs/decisions/012-answers.md has
    what was tried. None of them depends on an option's place or on how often it is right.

    Attributes:
        enough_mentions: a word that is said in so many passages counts half.
        likeness: power of the cosine between two words; higher asks for nearer ones.
        own_words: options of at least so many words on average stand for themselves; shorter ones
            are completed to statements with the question as well, and no language model is asked.
        shared: how much of what an option shares is taken off: of a statement what all statements
            have in common (the question), of a cosine the nearness to other videos.
        meaning_weight: of the cosine between option and passages, beside the words' score.
        statement_weight: of the cosine between statement and passages, where options are short.
        time_weight: what standing at the time that the question names adds to a passage's cosine.
        background_nearest: the passages of other videos that nearness to them is measured on, of
            2,000.
        blind_share: how much of an option's likelihood without evidence is taken off.
        llm_weight: of a nat of likelihood, beside words and meaning.
    """

    enough_mentions: float = 3.0
    likeness: float = 6.0
    own_words: float = 8.0
    shared: float = 0.5
    meaning_weight: float = 2.5
    statement_weight: float = 3.5
    time_weight: float = 0.1
    background_nearest: int = 20
    blind_share: float = 0.5
    llm_weight: float = 0.02
