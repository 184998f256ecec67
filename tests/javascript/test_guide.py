"""The programs of the guide to the JavaScript client, run as they are written, against the samples."""

from pathlib import Path

import pytest

from tests.docs.pages import blocks_of
from tests.support.node import run
from tests.support.process import ROOT, ServerProcess

PRINTED = {
    "submit.mjs": ("completed 100", "numbers: ["),
    "errors.mjs": ("/city: ",),
    "upload.mjs": (),
}
WRITTEN = {"upload.mjs": "*.html"}


@pytest.mark.parametrize("name", PRINTED)
def test_a_program_of_the_guide_works(server: ServerProcess, folder: Path, name: str) -> None:
    (block,) = [block for block in blocks_of(ROOT / "docs/javascript.md") if block.file == name]
    (folder / name).write_text(block.text.replace("http://localhost:8080", f"http://127.0.0.1:{server.port}"))
    printed = run(folder, "node", name)
    for expected in PRINTED[name]:
        assert expected in printed
    if name in WRITTEN:
        assert list(folder.glob(WRITTEN[name]))
