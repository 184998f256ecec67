"""How the values of a CSV column are written: their formats, lengths, and leading or trailing blanks."""

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

# Capitals, digits and symbols are often codes, so the length of short runs matters; that of words does not.
_LONG_RUN: Final = re.compile(r"([^a])\1{4,}", re.DOTALL)
_WORD: Final = re.compile(r"a{2,}")


class _Shapes(dict[int, int]):
    """A table for `str.translate`: `A` or `a` for a letter, `9` for a digit."""

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
    """Return the format of a value: `Aa+ 9999` for `Lisboa 2026`.

    Letters become `A` or `a`, digits `9`, anything else stays. Two or more lower-case letters become `a+`; a run of
    five or more of anything else is shortened too, `00000` to `9+`. Only the first 100 characters count.
    """
    return _compressed(_shapes_of((value,))[0])


def _shapes_of(values: Sequence[str]) -> list[str]:
    """Translate all values at once, which is fast: `translate` costs more to call than to run."""
    if max(map(len, values)) > _LOOKED_AT:
        values = [value if len(value) <= _LOOKED_AT else value[:_LOOKED_AT] + "…" for value in values]
    shapes = "\n".join(values).translate(_SHAPES).split("\n")
    if len(shapes) != len(values):  # some values contain line ends
        shapes = [value.translate(_SHAPES) for value in values]
    return shapes


@lru_cache(maxsize=4096)
def _compressed(shape: str) -> str:
    return _WORD.sub("a+", _LONG_RUN.sub(r"\1+", shape))


def folded(value: str) -> str:
    """Return the value without differences that readers ignore: case, and surrounding blanks."""
    return value.strip().casefold()


class Formats:
    """How often each format occurred, with an example. Bounded like `TopValues`."""

    def __init__(self, keep: int) -> None:
        self._top = TopValues(exact_limit=2 * keep, keep=keep)
        self._examples: dict[str, str] = {}

    @property
    def exact(self) -> bool:
        """Whether every occurrence of every format has been counted."""
        return self._top.exact

    def extend(self, values: Sequence[str]) -> None:
        """Count the formats of some values."""
        if values:
            shapes = _shapes_of(values)
            self._add(Counter(shapes), dict(zip(shapes, values, strict=True)))

    def extend_counted(self, counts: Mapping[str, int]) -> None:
        """Count the formats of values, given how often each occurred."""
        if counts:
            shapes = _shapes_of([*counts])
            tally: Counter[str] = Counter()
            for shape, count in zip(shapes, counts.values(), strict=True):
                tally[shape] += count
            self._add(tally, dict(zip(shapes, counts, strict=True)))

    def most_common(self, limit: int) -> list[tuple[str, int, str]]:
        """Return the most frequent formats, each with its count and an example."""
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
    """The lengths of values in characters, and how many begin or end with a blank."""

    def __init__(self) -> None:
        self.count = 0
        self.shortest: float = inf
        self.longest = 0
        self.padded = 0
        self._total = 0

    def extend(self, values: Sequence[str]) -> None:
        """Add values, at least one."""
        lengths = list(map(len, values))
        self.count += len(lengths)
        self.shortest = min(self.shortest, *lengths)
        self.longest = max(self.longest, *lengths)
        self._total += sum(lengths)
        self.padded += sum(map(ne, values, map(str.strip, values)))

    @property
    def mean(self) -> float:
        """The mean length of at least one value."""
        return self._total / self.count
