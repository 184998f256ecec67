"""`python -m tests.docs.take_pictures`: the pictures of the README, taken of a real server in a real browser."""

import sys
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

from tests.support.process import ROOT, ServerProcess

CHROMIUM = "/usr/bin/chromium"
FOLDER = ROOT / "docs" / "pictures"
SIZE = {"width": 1000, "height": 700}
GLIDE_MS = 600
"""Bars glide to their place."""
FAR_ENOUGH = 25
MOST_BYTES = 150_000

JOBS: tuple[tuple[str, str, dict[str, object]], ...] = (
    ("ping", "?label=is+it+there", {}),
    ("lottery", "?label=Saturday", {"draws": 20_000, "seed": 42}),
    ("weather", "?label=for+the+picnic", {"city": "Lisbon"}),
    ("lottery", "?label=is+it+fair", {"draws": 4_000_000, "seed": 7}),
)


def take(page: Page, server: ServerProcess, name: str) -> Path:
    """Submit jobs, wait until bars move, and take the picture."""
    page.goto(f"http://127.0.0.1:{server.port}/")
    ids = [server.submit(*job[:1], job[2], job[1]) for job in JOBS]
    server.wait_for(ids[1])
    page.get_by_label("Draw the lottery").first.check()
    for job_id in ids[2:]:
        next(state for state in server.states(job_id) if (state["progress"] or 0) > FAR_ENOUGH)
    page.wait_for_timeout(GLIDE_MS)
    path = FOLDER / name
    page.screenshot(path=path)
    for job_id in ids:
        server.request("DELETE", f"/jobs/{job_id}?purge=true")
    return path


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    with ServerProcess() as server, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        for scheme in ("light", "dark"):
            context = browser.new_context(viewport=SIZE, color_scheme=scheme)  # type: ignore[arg-type]
            path = take(context.new_page(), server, f"page-{scheme}.png")
            sys.stdout.write(f"{path.relative_to(ROOT)}: {path.stat().st_size:,} bytes\n")
            assert path.stat().st_size < MOST_BYTES
            context.close()
        browser.close()


if __name__ == "__main__":
    main()
