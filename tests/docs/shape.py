"""Compares what a command printed with what a page says that it prints: in shape, since ids and times differ."""

import re

_TOKEN = re.compile(
    r"""
    (?P<any>\.\.\.|…)
    | (?P<bound>
        \b[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}\b
        | \b[0-9a-f]{16}\b
        | \b(?:hwk|hwt|whsec)_[\w.+/=-]+)
    | (?P<instant>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|\+00:00))
    | (?P<day>\d{4}-\d\d-\d\d)
    | (?P<line>HTTP/1\.1\s\d{3}[ \w]*)
    | (?P<exact>"status":\s*\d{3})
    | (?P<number>-?\d[\d,]*(?:\.\d+)?)
    | (?P<space>\s+)
    | (?P<text>.)
    """,
    re.VERBOSE | re.DOTALL,
)

_SHAPES = {
    "any": ".*?",
    "instant": r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|\+00:00)",
    "day": r"\d{4}-\d\d-\d\d",
    "number": r"-?\d[\d,]*(?:\.\d+)?",
    "space": "",
}

_BOUND = {
    "hwk_": "hwk_[A-Za-z0-9_-]{43}",
    "hwt_": r"hwt_[\w.-]+",
    "whsec_": "whsec_[A-Za-z0-9+/]{43}=",
    "": "[0-9a-f-]{%d}",
}
"""What each kind of name looks like, by how it begins; ids of jobs and keys, by their length.

White space is gone, so where it ends must be known.
"""


class Names:
    """What ids and keys of a page really are, once a command has printed them."""

    def __init__(self) -> None:
        self.real: dict[str, str] = {}

    def resolved(self, text: str) -> str:
        """The text with every id of the page replaced by the real one."""
        for written, real in self.real.items():
            text = text.replace(written, real)
        return text

    def compare(self, expected: str, printed: str) -> None:
        """Raises `AssertionError` where the shapes differ; learns what the ids in `expected` really are.

        White space does not count, `...` is anything, an instant any instant and a number any number, but for
        a response's status.
        """
        groups: dict[str, str] = {}
        pattern = "".join(self._shape(matched, groups) for matched in _TOKEN.finditer(expected.strip()))
        found = re.fullmatch(pattern, re.sub(r"\s+", "", printed), re.DOTALL)
        assert found, f"expected\n{expected}\n\nprinted\n{printed}"
        self.real |= {written: found[group] for group, written in groups.items()}

    def _shape(self, token: re.Match[str], groups: dict[str, str]) -> str:
        kind, text = token.lastgroup or "text", token[0]
        if kind in _SHAPES:
            return _SHAPES[kind]
        if kind == "line":  # its phrase is Python's: 3.13 has the newer ones of RFC 9110
            return rf"HTTP/1\.1{text.split()[1]}[A-Za-z]*?"
        if kind != "bound":
            return re.escape(re.sub(r"\s+", "", text))
        if text in self.real:
            return re.escape(self.real[text])
        for group, written in groups.items():
            if written == text:
                return f"(?P={group})"
        groups[f"bound{len(groups)}"] = text
        shape = next(shape for prefix, shape in _BOUND.items() if text.startswith(prefix))
        shape = shape.replace("%d", str(len(text)))
        return f"(?P<bound{len(groups) - 1}>{shape})"
