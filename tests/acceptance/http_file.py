"""Runs a `.http` file as VS Code's REST Client does, as far as ours needs it; anything else is an error.

Known: `###` between requests, `@variable = value`, `{{…}}` with variables and with the answers of named requests
(headers, JSON paths), `# @name`, `# @no-redirect`, headers, a body. Our own is `# expect: 200`, or `# expect: 202,
then 200` for a request that a person would send again until the answer is another.
See https://github.com/Huachao/vscode-restclient#readme.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import httpx

from tests.support.process import WAIT_TIMEOUT_S, ServerProcess

_VARIABLE = re.compile(r"@(\w+)\s*=\s*(\S+)")
_REQUEST = re.compile(r"(GET|POST|DELETE) (\S+)")
_HEADER = re.compile(r"([A-Za-z-]+): (.+)")
_NAME = re.compile(r"# @name (\w+)")
_EXPECT = re.compile(r"# expect: (?:(\d{3}), then )?(\d{3})")
_DIRECTIVE = re.compile(r"# ?(@|expect)")
_REFERENCE = re.compile(r"{{([^{}]*)}}")
_ANSWER = re.compile(r"(\w+)\.response\.(?:headers\.([\w-]+)|body\.\$((?:\.\w+|\[\d+\])+))")
_STEP = re.compile(r"\.(\w+)|\[(\d+)\]")


@dataclass
class Request:
    """One request of the file, its references not yet replaced."""

    title: str
    name: str | None = None
    follow: bool = True
    again: int | None = None
    """The status after which the request is sent again."""
    expect: int = 0
    method: str = ""
    url: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    body: list[str] = field(default_factory=list)


@dataclass
class HttpFile:
    """A parsed file. Raises `ValueError` for syntax that is not supported here."""

    requests: list[Request] = field(default_factory=list)
    variables: dict[str, str] = field(default_factory=dict)

    @classmethod
    def parse(cls, text: str) -> "HttpFile":
        found = cls()
        for block in re.split(r"^###", "\n" + text, flags=re.MULTILINE):
            title, *lines = block.split("\n")
            request = Request(title.strip())
            found._read(request, iter(lines))
            if request.method:
                if not request.expect:
                    raise ValueError(f"{request.title}: it does not say what to expect")
                if ".response." in "".join([request.url, *request.headers.values(), *request.body]):
                    raise ValueError(f"{request.title}: an answer is referred to by a variable, which can be edited")
                found.requests.append(request)
        return found

    def _read(self, request: Request, lines: Iterator[str]) -> None:
        """Read the lines before the request, its request line and headers, and its body."""
        for line in lines:
            if (matched := _REQUEST.fullmatch(line)) is not None:
                request.method, request.url = matched.groups()
                break
            self._read_before(request, line)
        for line in lines:
            if not line:
                break
            matched = _HEADER.fullmatch(line)
            if matched is None:
                raise ValueError(f"{request.title}: {line!r} is no header")
            request.headers[matched[1]] = matched[2]
        for line in lines:
            if _VARIABLE.fullmatch(line):
                raise ValueError(f"{request.title}: {line!r} would be sent: it belongs before the next request")
            request.body.append(line)
        while request.body and not request.body[-1]:
            request.body.pop()

    def _read_before(self, request: Request, line: str) -> None:
        if not line or self._read_variable(line):
            return
        if (matched := _NAME.fullmatch(line)) is not None:
            request.name = matched[1]
        elif (matched := _EXPECT.fullmatch(line)) is not None:
            request.again = int(matched[1]) if matched[1] else None
            request.expect = int(matched[2])
        elif line == "# @no-redirect":
            request.follow = False
        elif not line.startswith("#") or _DIRECTIVE.match(line):
            raise ValueError(f"{request.title}: {line!r} is not known")

    def _read_variable(self, line: str) -> bool:
        matched = _VARIABLE.fullmatch(line)
        if matched is not None:
            self.variables[matched[1]] = matched[2]
        return matched is not None


class Run:
    """Sends the requests of a file in order, and keeps the responses to named ones."""

    def __init__(self, file: HttpFile, client: httpx.Client, **variables: str) -> None:
        self._file = file
        self._client = client
        self._variables = file.variables | variables
        self._answers: dict[str, httpx.Response] = {}

    def send(self, request: Request, pause: Callable[[httpx.Response], None]) -> httpx.Response:
        """Send a request, again while its first status comes, calling `pause` between. Returns the last response."""
        while True:
            answer = self._client.request(
                request.method,
                self.resolved(request.url),
                headers={name: self.resolved(value) for name, value in request.headers.items()},
                content=self._content(request),
                follow_redirects=request.follow,
            )
            if answer.status_code != request.again:
                break
            pause(answer)
        if request.name is not None:
            self._answers[request.name] = answer
        return answer

    def _content(self, request: Request) -> bytes:
        form = request.headers.get("Content-Type", "").startswith("multipart/")
        return self.resolved(("\r\n" if form else "\n").join(request.body)).encode()

    def resolved(self, text: str) -> str:
        """Replace every reference in the text. Raises `ValueError` for one that cannot be resolved."""
        return _REFERENCE.sub(lambda matched: self._value(matched[1]), text)

    def _value(self, reference: str) -> str:
        if reference in self._variables:
            return self.resolved(self._variables[reference])
        matched = _ANSWER.fullmatch(reference)
        if matched is None or matched[1] not in self._answers:
            raise ValueError(f"{{{{{reference}}}}} is neither a variable nor of a request that was sent")
        answer = self._answers[matched[1]]
        if matched[2] is not None:
            return answer.headers[matched[2]]
        value = answer.json()
        for name, index in _STEP.findall(matched[3]):
            value = value[name] if name else value[int(index)]
        return str(value)


def client_of(server: ServerProcess) -> httpx.Client:
    return httpx.Client(base_url=f"http://127.0.0.1:{server.port}", timeout=2 * WAIT_TIMEOUT_S)
