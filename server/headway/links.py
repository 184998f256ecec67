"""The links that the server hands out: paths, or absolute where it knows the URL under which it is public."""

from .domain.jobs import Job


class Links:
    """Made once. `base` stands before every path: nothing, or the public URL without a slash at its end."""

    def __init__(self, public_url: str) -> None:
        self.base = public_url

    def to(self, path: str) -> str:
        """The link to a path of this server, which begins with a slash."""
        return self.base + path

    def job(self, job: Job, *, redirect: bool = False) -> str:
        """Where the job is; with `redirect` a GET leads on to its result once it has ended."""
        return f"{self.base}/jobs/{job.id}?redirect=true" if redirect else f"{self.base}/jobs/{job.id}"

    def operation(self, job: Job) -> str:
        """Where Azure's SDKs poll it (see `operations_azure`)."""
        return f"{self.base}/operations/{job.id}"

    def result(self, job: Job) -> str:
        """Where the handler says that its result is, or where a job's result always is."""
        if job.result_url is not None:
            return self.to(job.result_url) if job.result_url.startswith("/") else job.result_url
        return f"{self.base}/jobs/{job.id}/result"
