"""`headway watch`"""

from .options import AsJson, Ids, Quiet, Url, ids_of


def watch(ids: Ids, url: Url = None, as_json: AsJson = False, quiet: Quiet = False) -> None:
    """Watch jobs until they have ended.

    In a terminal, there is a bar for each, with the lines of their logs above; elsewhere a line for each 10 %.
    --json prints each state and each line of a log; --quiet nothing. Cut connections and restarts of the server
    are survived. Ctrl-C stops watching, not the jobs. The exit status is 0 if all have completed, 1 if one has
    failed, else 3 if one was cancelled.
    """
    from ..watching.watching import watch_jobs  # noqa: PLC0415 - rich and asyncio, for those who watch

    raise SystemExit(watch_jobs(url, ids_of(ids), as_json=as_json, quiet=quiet))
