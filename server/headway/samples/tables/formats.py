"""How the values of a CSV column are written: their shapes, their lengths, and blanks that nobody sees."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import lru_cache
from math import inf
from operator import ne
from typing import Final

from .sketches import TopValues

_LOOKED_AT: Final = 100
_REMEMBERED_LETTERS: Final = 4096

# Capitals, digits and signs are often codes, whose length matters up to a point; that of words does not.
_LONG_RUN: Final = re.compile(r"([^a])\1{4,}", re.DOTALL)
_WORD: Final = re.compile(r"a{2,}")


class _Shapes(dict[int, int]):
    """What `str.translate` puts for a character: `A` or `a` for a letter, `9` for a digit."""

    def __missing__(self, code: int) -> int:
        char = chr(code)
        shape = code
        if char.isalpha():
            shape = ord("A" if char.isupper() else "a")
        elif char.isdecimal():
            shape = ord("9")
        if len(self) < _REMEMBERED_LETTERS:
            self[code] = shape
        return shape


_SHAPES: Final = _Shapes()


def format_of(value: str) -> str:
    """Return how a value is written: `Aa+ 9999` for `Lisboa 2026`.

    Letters become `A` or `a`, digits `9`, anything else stays. Two small letters or more become `a+`, five or
    more of anything else, like `00000`, become `9+`. Only the first 100 characters count.
    """
    return _compressed(_shapes_of((value,))[0])


def _shapes_of(values: Sequence[str]) -> list[str]:
    """Do all at once, which is quick: `translate` costs more to call than to run."""
    if max(map(len, values)) > _LOOKED_AT:
        values = [value if len(value) <= _LOOKED_AT else value[:_LOOKED_AT] + "…" for value in values]
    shapes = "\n".join(values).translate(_SHAPES).split("\n")
    if len(shapes) != len(values):  # there are line ends within values
        shapes = [value.translate(_SHAPES) for value in values]
    return shapes


@lru_cache(maxsize=4096)
def _compressed(shape: str) -> str:
    return _WORD.sub("a+", _LONG_RUN.sub(r"\1+", shape))


def folded(value: str) -> str:
    """Return the value without what people do not see as a difference: case, and blanks at the ends."""
    return value.strip().casefold()


class Formats:
    """How often each format occurred, with an example; bounded as `TopValues` is."""

    def __init__(self, keep: int) -> None:
        self._top = TopValues(exact_limit=2 * keep, keep=keep)
        self._examples: dict[str, str] = {}

    @property
    def exact(self) -> bool:
        """Whether every format has been counted from its first value on."""
        return self._top.exact

    def extend(self, values: Sequence[str]) -> None:
        """Count the formats of some values."""
        if values:
            shapes = _shapes_of(values)
            self._add(Counter(shapes), dict(zip(shapes, values, strict=True)))

    def extend_counted(self, counts: Mapping[str, int]) -> None:
        """Count the formats of values of which it is known how often they occurred."""
        if counts:
            shapes = _shapes_of([*counts])
            tally: Counter[str] = Counter()
            for shape, count in zip(shapes, counts.values(), strict=True):
                tally[shape] += count
            self._add(tally, dict(zip(shapes, counts, strict=True)))

    def most_common(self, limit: int) -> list[tuple[str, int, str]]:
        """Return format, count and an example of the most frequent ones."""
        return [(format, count, self._examples[format]) for format, count in self._top.most_common(limit)]

    def _add(self, tally: Mapping[str, int], examples: Mapping[str, str]) -> None:
        found: Counter[str] = Counter()
        for shape, count in tally.items():
            format = _compressed(shape)
            found[format] += count
            if format not in self._examples:
                self._examples[format] = examples[shape]
        self._top.extend(found)
        if len(self._examples) > len(self._top.counts):
            self._examples = {format: self._examples[format] for format in self._top.counts}


class Lengths:
    """How long values are in characters, and how many begin or end with a blank."""

    def __init__(self) -> None:
        self.count = 0
        self.shortest: float = inf
        self.longest = 0
        self.padded = 0
        self._total = 0

    def extend(self, values: Sequence[str]) -> None:
        """Add values; there must be some."""
        lengths = list(map(len, values))
        self.count += len(lengths)
        self.shortest = min(self.shortest, *lengths)
        self.longest = max(self.longest, *lengths)
        self._total += sum(lengths)
        self.padded += sum(map(ne, values, map(str.strip, values)))

    @property
    def mean(self) -> float:
        """There must have been values."""
        return self._total / self.count
