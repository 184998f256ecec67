"""Functions of SQL about the words by which jobs are found, for a connection's `create_function`."""

import json

from ....domain.filters import words_of

BEGINS_WORD, WORDS_OF = "begins_word", "words_of"
"""Their names."""


def begins_word(label: object, message: object, beginning: str) -> bool:
    """Whether one of the words of these texts begins so."""
    return any(word.startswith(beginning) for word in words_of(_text(label), _text(message)))


def words_as_json(label: object, message: object) -> str:
    """The words of these texts, as a JSON array."""
    return json.dumps(sorted(words_of(_text(label), _text(message))))


def _text(value: object) -> str | None:
    """What can be read of a value that may be damaged."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else None
