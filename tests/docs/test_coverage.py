"""What the guides must name: each public name, each parameter, each setting, each call, each error, each metric."""

import inspect
import re
from pathlib import Path
from typing import Any

import headway
import pytest
from headway import client, limits
from headway.authoring.job_types import Registry
from headway.cli.lazy import JOBS, OPERATING, Entry, LazyCommand
from headway.metrics import Metrics
from headway.settings import OF_OTHERS, EverydaySettings, Settings
from headway.web.openapi.document import Description
from headway.web.problems import KINDS

from tests.support.process import ROOT

README = (ROOT / "README.md").read_text("utf-8")
AUTHORS = (ROOT / "docs/authors.md").read_text("utf-8")
CLIENTS = (ROOT / "docs/clients.md").read_text("utf-8")
EMBEDDING = (ROOT / "docs/embedding.md").read_text("utf-8")
HTTP = (ROOT / "docs/http.md").read_text("utf-8")
OPERATORS = (ROOT / "docs/operators.md").read_text("utf-8")
WORKERS = (ROOT / "docs/remote-workers.md").read_text("utf-8")


LARGE = 86_400

FOR_THE_SERVER = {"ask_to_stop", "has_directories"}
"""Members of contexts that the server uses, not the author."""


def names_in_code(text: str) -> set[str]:
    """The words that stand in `code`."""
    return {word for code in re.findall(r"`([^`\n]+)`", text) for word in re.findall(r"\w+", code)}


def public_members(cls: type[Any]) -> set[str]:
    found = {*dir(cls), *getattr(cls, "__annotations__", {})}
    for each in cls.__mro__:
        init = vars(each).get("__init__")
        if inspect.isfunction(init) and not hasattr(each, "__dataclass_fields__"):
            found |= set(re.findall(r"self\.([a-z]\w*)\b.* = ", inspect.getsource(init)))
    return {name for name in found if not name.startswith("_")} - FOR_THE_SERVER


def test_the_readme_is_short() -> None:
    assert len(README.splitlines()) <= 150


def test_the_author_s_guide_names_every_public_name() -> None:
    assert set(headway.__all__) - names_in_code(AUTHORS) == set()


def test_the_author_s_guide_names_every_parameter_of_the_decorator() -> None:
    assert set(inspect.signature(headway.job).parameters) - names_in_code(AUTHORS) == set()


@pytest.mark.parametrize("cls", [headway.Context, headway.BlockingContext, headway.ResourceContext])
def test_the_author_s_guide_names_everything_that_a_context_has(cls: type[Any]) -> None:
    assert public_members(cls) - names_in_code(AUTHORS) == set()


def test_the_author_s_guide_names_every_field_of_an_upload_and_of_a_failure() -> None:
    fields = {*headway.Upload.__annotations__, *inspect.signature(headway.JobFailed).parameters}
    assert fields - names_in_code(AUTHORS) == set()


def test_the_guide_to_workers_names_everything_that_the_examples_offer() -> None:
    go, javascript, bash = ((ROOT / f"docs/workers/worker.{name}").read_text("utf-8") for name in ("go", "mjs", "sh"))
    in_go = set(re.findall(r"^(?:type|func(?: \(.+?\))?) ([A-Z]\w*)", go, re.MULTILINE)) - {"Error"}
    in_javascript = set(re.findall(r"\b(\w+)(?=[,:])", re.findall(r"const tools = {(.+)}", javascript)[0]))
    in_bash = set(re.findall(r"export -f headers (\w+)", bash))
    assert in_go > {"Job", "Log"}
    assert in_javascript > {"report", "signal"}
    assert in_bash == {"headway"}
    assert (in_go | in_javascript | in_bash) - names_in_code(WORKERS) == set()


def test_the_guide_to_clients_names_everything_that_the_python_client_has() -> None:
    named = names_in_code(CLIENTS) | set(
        re.findall(r"\w+", "".join(re.findall(r"```python\n(.*?)```", CLIENTS, re.DOTALL)))
    )
    classes = [client.Client, client.Job, client.Files, client.Outcome]
    assert set(client.__all__) - named == set()
    assert {name for cls in classes for name in public_members(cls)} - {"url"} - named == set()


def test_the_guide_to_embedding_names_everything_that_a_server_can_do() -> None:
    members = {name for name in dir(headway.Headway) if not name.startswith("_")}
    submit = set(inspect.signature(headway.Headway.submit).parameters) - {"self"}
    assert members | submit <= names_in_code(EMBEDDING)


def test_the_operator_s_guide_names_every_setting_with_its_default() -> None:
    for name, field in Settings.model_fields.items():
        (row,) = [
            line for line in OPERATORS.splitlines() if line.startswith("|") and f"`HEADWAY_{name.upper()}`" in line
        ]
        if isinstance(field.default, int | float) and not isinstance(field.default, bool):
            written = f"{field.default:g}" if field.default < LARGE else ""  # larger ones are in days or MiB
            assert written in row, row


def test_the_operator_s_guide_names_no_setting_that_is_not_there() -> None:
    named = set(re.findall(r"HEADWAY_([A-Z_]+)\b", README + AUTHORS + HTTP + OPERATORS + EMBEDDING))
    assert {name.lower() for name in named - OF_OTHERS} - Settings.model_fields.keys() == set()


@pytest.mark.parametrize(("page", "section"), [("operators.md", OPERATING), ("cli.md", JOBS)])
def test_a_guide_names_every_command(page: str, section: dict[str, Entry]) -> None:
    text = (ROOT / "docs" / page).read_text("utf-8")
    for name, entry in section.items():
        for command in _commands(LazyCommand(name, entry).load(), name):
            assert f"headway {command}" in text, command


@pytest.mark.parametrize("name", JOBS)
def test_the_guide_to_the_command_line_names_every_option(name: str) -> None:
    text = (ROOT / "docs/cli.md").read_text("utf-8")
    options = [each for param in LazyCommand(name, JOBS[name]).load().params for each in param.opts]
    assert [option for option in options if option.startswith("--") and option not in text] == []


def _commands(command: Any, path: str) -> list[str]:
    below = getattr(command, "commands", None)
    if not below:
        return [path.strip()]
    return [found for name, each in below.items() for found in _commands(each, f"{path} {name}")]


def test_the_operator_s_guide_names_every_metric() -> None:
    source = (Path(inspect.getfile(Metrics)).parent / "web/endpoints/metrics.py").read_text("utf-8")
    source += Path(inspect.getfile(Metrics)).read_text("utf-8")
    metrics = set(re.findall(r'"(headway_\w+)"', source))
    assert metrics
    assert {name for name in metrics if name not in OPERATORS} == set()


def test_the_http_guide_names_every_call() -> None:
    document = Description(Registry([]), Settings()).document()
    calls = {f"{method.upper()} {path}" for path, methods in document["paths"].items() for method in methods}
    assert {call for call in calls if f"`{call}`" not in HTTP and not call.startswith("GET /static")} == set()


def test_the_http_guide_names_every_type_of_problem_with_its_status() -> None:
    rows = [line for line in HTTP.splitlines() if re.match(r"\| \d{3}", line)]
    for kind, (status, _) in KINDS.items():
        assert any(f"`{kind}`" in row and str(status) in row.split("|")[1] for row in rows), kind


def test_the_http_guide_names_every_reason_why_a_job_fails() -> None:
    source = "".join(path.read_text("utf-8") for path in (ROOT / "server/headway").glob("*/**/*.py"))
    reasons = set(re.findall(r'(?:JobError\(|_error\()\s*(?:type=)?"([a-z-]+)"', source))
    assert {"timeout", "process-died", "interrupted", "handler-error"} <= reasons
    assert {reason for reason in reasons if f"`{reason}`" not in HTTP} == set()


def test_the_operator_s_guide_has_the_settings_in_the_groups_that_the_code_has() -> None:
    _, every_day, advanced = re.split(r"^### (?:Every day|Advanced)$", OPERATORS, flags=re.MULTILINE)
    groups = [set(re.findall(r"`HEADWAY_([A-Z_]+)`", text.partition("\n## ")[0])) for text in (every_day, advanced)]
    everyday = {name.upper() for name in EverydaySettings.model_fields}
    assert groups == [everyday, {name.upper() for name in Settings.model_fields} - everyday]


def test_the_authors_guide_has_every_limit_in_its_table() -> None:
    table = AUTHORS[AUTHORS.index("## Limits") : AUTHORS.index("## Loading")]
    named = re.findall(r"\d{1,3}(?:,\d{3})*(?: [MG]iB)?", table)
    for name, value in vars(limits).items():
        if name.isupper():
            in_bytes = f"{value // 2**30} GiB" if value >= 2**30 else f"{value // 2**20} MiB"
            assert (in_bytes if name.endswith("_BYTES") else f"{value:,}") in named, name
