"""JSON merge patches (RFC 7396)."""

from collections.abc import Mapping
from typing import Any


def merged(target: Any, patch: Mapping[str, Any]) -> dict[str, Any]:
    """What a merge patch that is an object makes of `target` (RFC 7396, 2)."""
    result = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = merged(result.get(name), value) if isinstance(value, dict) else value
    return result
