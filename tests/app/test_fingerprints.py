"""What makes a job type count as changed when its module has been loaded again."""

import sys
import types
from collections.abc import Iterator

import pytest
from headway.app.developing.fingerprints import fingerprint
from headway.authoring.declaring import declarations, declared, put_declarations

SOURCE = """
from pydantic import BaseModel
from headway import BlockingContext, job

FACTOR, TABLE = 2, {"a": 1}

class Scaled(BaseModel):
    n: int = 1
    def by(self) -> int:
        return self.n * FACTOR

def rounded(n: int) -> int:
    return round(n)

def unused() -> int:
    return 1

@job("scale", title="Scale")
def scale(ctx: BlockingContext, input: Scaled) -> int:
    return rounded(input.by()) + TABLE["a"]
"""


@pytest.fixture(autouse=True)
def _declares_nothing() -> Iterator[None]:
    before = declarations()
    yield
    put_declarations(before)
    sys.modules.pop("scaling", None)


def of(source: str) -> bytes:
    """The fingerprint of the type in a module with this source."""
    module = types.ModuleType("scaling")
    sys.modules["scaling"] = module
    exec(compile(source, "scaling.py", "exec"), vars(module))  # noqa: S102 - as an import does
    return fingerprint(declared("scale"), {"scaling"})


def test_a_module_that_is_loaded_again_unchanged_has_changed_no_type() -> None:
    assert of(SOURCE) == of(SOURCE)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("from pydantic", "# A comment, by which all lines move.\n\nfrom pydantic"),
        ("def unused() -> int:\n    return 1", "def unused() -> int:\n    return 2"),
    ],
)
def test_what_a_handler_does_not_use_does_not_count(before: str, after: str) -> None:
    assert SOURCE.count(before) == 1
    assert of(SOURCE) == of(SOURCE.replace(before, after))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('title="Scale"', 'title="Scales"'),
        ('title="Scale"', 'title="Scale", timeout_s=5'),
        ("n: int = 1", "n: int = 2"),
        ("input.by()) + ", "input.by()) - "),
        ("return round(n)", "return round(n, 1)"),
        ("self.n * FACTOR", "self.n + FACTOR"),
        ("FACTOR, TABLE = 2", "FACTOR, TABLE = 3"),
        ('{"a": 1}', '{"a": 2}'),
        ("-> int:\n    return rounded(", "-> float:\n    return rounded("),
    ],
)
def test_what_is_declared_and_all_code_and_constants_that_the_handler_leads_to_count(before: str, after: str) -> None:
    assert SOURCE.count(before) == 1
    assert of(SOURCE) != of(SOURCE.replace(before, after))


def test_a_long_chain_of_functions_is_read_to_its_end() -> None:
    chain = "".join(f"def f{n}(x): return f{n + 1}(x)\n" for n in range(2_000)) + "def f2000(x): return x + END\n"
    source = SOURCE.replace("return round(n)", "return f0(n)") + chain
    assert of(f"{source}END = 1\n") != of(f"{source}END = 2\n")
