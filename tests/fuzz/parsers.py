"""Atheris (libFuzzer) on everything that parses client input, guided by which lines of our code an input reaches.

The first byte of an input chooses the parser. Whatever comes, a parser answers, or refuses with the error that it
documents; and of what it answers some things are always true.
"""

import sys
import tempfile
import warnings
from pathlib import Path

import atheris
from aiohttp import BadContentDispositionHeader, BadContentDispositionParam

INSTRUMENTED = ["headway", "json", "aiohttp.multipart", "aiohttp.payload", "aiohttp.web_request", "aiohttp.formdata"]
MAX_INPUT_BYTES = 4_096
SLOWEST_S = 10
"""An input that takes longer is a finding: a bad regular expression costs time."""


def fuzz(seconds: int, seed: int) -> int:
    """Run libFuzzer, which ends the process: with exit code 0 if nothing was found."""
    with atheris.instrument_imports(include=INSTRUMENTED):
        from .targets import TARGETS, WORDS  # noqa: PLC0415
    for of_clients in (BadContentDispositionHeader, BadContentDispositionParam):
        warnings.filterwarnings("ignore", category=of_clients)  # as the server does
    folder = Path(tempfile.mkdtemp(prefix="headway-fuzz-"))
    (folder / "corpus").mkdir()
    (folder / "words").write_text("".join(f'"{_escaped(word)}"\n' for word in WORDS), "ascii")
    for number, target in enumerate(TARGETS):
        for place, seed_input in enumerate(target.seeds):
            (folder / "corpus" / f"{target.name}-{place}").write_bytes(bytes([number]) + seed_input)
    print(f"{len(TARGETS)} parsers: {', '.join(target.name for target in TARGETS)}; {folder}", flush=True)

    def test_one_input(data: bytes) -> None:
        if data:
            TARGETS[data[0] % len(TARGETS)].run(data[1:])

    arguments = [
        *(sys.argv[0], str(folder / "corpus"), f"-max_total_time={seconds}", f"-seed={seed}"),
        *(f"-max_len={MAX_INPUT_BYTES}", f"-timeout={SLOWEST_S}", f"-dict={folder / 'words'}", "-print_final_stats=1"),
        *(f"-artifact_prefix={folder}/", "-rss_limit_mb=2048", "-verbosity=1"),
    ]
    atheris.Setup(arguments, test_one_input)
    atheris.Fuzz()
    return 0


def _escaped(word: bytes) -> str:
    return "".join(f"\\x{byte:02x}" for byte in word)
