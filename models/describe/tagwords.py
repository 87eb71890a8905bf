"""ImageNet's 1,000 labels as everyday words: groups of labels, and simpler names.

The labels are disjoint, so the probability of "rabbit" is the sum over wood rabbit, hare and
Angora. Groups are class indices and half-open ranges in ImageNet's order, chosen by hand.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fdvs.types import Vectors

Span = int | tuple[int, int]

MORE_CLOTHES = (689, 735, 775, 824, 834, 841, 869)
MORE_INSTRUMENTS = (577, 579, 593, 594, 641, 642, 683, 684, 687, 699, 776, 822, 875, 881, 889)
GROUPS: dict[str, tuple[Span, ...]] = {
    # animals
    "shark": ((2, 5),),
    "fish": ((0, 2), (5, 7), (389, 398)),
    "bird": ((7, 25), (80, 101), (127, 147)),
    "frog": ((30, 33),),
    "turtle": ((33, 38),),
    "lizard": ((38, 49),),
    "crocodile": ((49, 51),),
    "snake": ((52, 69),),
    "spider": ((72, 78),),
    "crab": ((118, 122),),
    "whale": ((147, 149),),
    "dog": ((151, 269),),
    "wolf": ((269, 272),),
    "fox": ((277, 281),),
    "cat": ((281, 286),),
    "big cat": ((286, 294),),
    "bear": ((294, 298),),
    "insect": ((300, 321),),
    "butterfly": ((321, 327),),
    "rabbit": ((330, 333),),
    "pig": ((341, 344),),
    "cattle": ((345, 348),),
    "antelope": ((351, 354),),
    "ape": ((365, 370),),
    "monkey": ((370, 383),),
    "elephant": ((385, 387),),
    # vehicles
    "car": (436, 468, 511, 609, 627, 656, 661, 751, 817),
    "truck": (555, 569, 586, 675, 717, 864, 867),
    "bus": (654, 779, 874),
    "train": (466, 547, 565, 705, 820, 829),
    "boat": (472, 484, 554, 576, 625, 780, 814, 871, 914),
    "ship": (403, 510, 628, 724),
    "aeroplane": (404, 895),
    "bicycle": (444, 671),
    "motor scooter": (665, 670),
    # things
    "bottle": (440, 720, 737, 898, 907),
    "telephone": (487, 528, 707),
    "computer": (527, 620, 681),
    "clock": (409, 530, 531, 892),
    "chair": (423, 559, 765),
    "ball": (429, 430, 522, 574, 722, 768, 805, 852, 890),
    "gun": (413, 763, 764),
    "hat": (452, 515, 808),
    "clothes": (399, 400, 474, 501, 568, 578, 601, 608, 610, 614, 617, 652, 655, *MORE_CLOTHES),
    "musical instrument": (401, 402, 420, 432, 486, 513, 541, 546, 558, 566, *MORE_INSTRUMENTS),
    "printed page": (916, 917, 918, 921, 922),
    # places and plants
    "building": (425, 483, 497, 663, 668, 698, 832),
    "bridge": (821, 839, 888),
    "fence": (489, 716, 912),
    "fruit": ((948, 958),),
    "vegetable": ((936, 947),),
    "mushroom": (947, (991, 998)),
    "flower": (985, 986),
}
ANIMALS = range(398)
RENAMED = {134: "crane", 339: "sorrel horse", 468: "taxi or cab", 680: "bottle teat"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Tag:
    """A recognised object: its name, for a group the kinds of it, and its probability."""

    name: str
    kinds: tuple[str, ...]
    probability: float

    def words(self) -> str:
        """Return the name, with kinds in brackets: `rabbit (hare, Angora)`."""
        return f"{self.name} ({', '.join(self.kinds)})" if self.kinds else self.name


def members(group: str) -> list[int]:
    """Return a group's class indices."""
    numbers: list[int] = []
    for span in GROUPS[group]:
        numbers += [span] if isinstance(span, int) else range(*span)
    return numbers


def friendly(index: int, label: str) -> str:
    """Return a label in everyday words: its first synonym, and for objects one with new words.

    >>> friendly(487, "cellular telephone, cellular phone, cellphone, cell, mobile phone")
    'cellular telephone or cellphone'
    >>> friendly(331, "hare")
    'hare'
    """
    if index in RENAMED:
        return RENAMED[index]
    first, *others = [part.strip() for part in label.split(",")]
    used = set(re.split(r"\W+", first.lower()))
    for other in others if index not in ANIMALS else ():
        words = set(re.split(r"\W+", other.lower()))
        if not words & used:
            return f"{first} or {other}".lower()
    return first.lower()


def tags(
    probabilities: Vectors, labels: Sequence[str], *, floor: float, kind_floor: float
) -> list[Tag]:
    """Return the tags of a row [1000] of probabilities, each at least `floor`, likeliest first.

    The labels of a group add up; those of at least `kind_floor` are named as its kinds. A group's
    floor is higher by its share of all labels, the value under a uniform distribution. If no tag
    reaches the floor but all animals together reach 0.75, the tag is `some animal`.
    """
    found: list[Tag] = []
    single = np.ones(len(labels), dtype=bool)
    for group in GROUPS:
        numbers = members(group)
        single[numbers] = False
        if (share := float(probabilities[numbers].sum())) >= floor + len(numbers) / len(labels):
            ranked = sorted(numbers, key=lambda i: -probabilities[i])
            kinds = [friendly(i, labels[i]) for i in ranked[:2] if probabilities[i] >= kind_floor]
            others = tuple(kind for kind in kinds if kind != group)
            found.append(Tag(name=group, kinds=others, probability=share))
    for i in np.flatnonzero(single & (probabilities >= floor)).tolist():
        name = friendly(i, labels[i])
        found.append(Tag(name=name, kinds=(), probability=float(probabilities[i])))
    animal = float(probabilities[list(ANIMALS)].sum())
    if not found and animal >= 0.75:
        found.append(Tag(name="some animal", kinds=(), probability=animal))
    return sorted(found, key=lambda tag: (-tag.probability, tag.name))
