"""The links that the server hands out: paths, or absolute URLs if its public URL is set."""

from .domain.jobs import Job, NewJob


class Links:
    """`base` precedes every path: it is empty, or the public URL without a trailing slash."""

    def __init__(self, public_url: str) -> None:
        self.base = public_url

    def to(self, path: str) -> str:
        """The link to a path of this server; the path begins with a slash."""
        return self.base + path

    def job(self, job: Job | NewJob, *, redirect: bool = False) -> str:
        """The job's status resource; with `redirect`, a GET redirects to the result once the job has ended."""
        return f"{self.base}/jobs/{job.id}?redirect=true" if redirect else f"{self.base}/jobs/{job.id}"

    def operation(self, job: Job) -> str:
        """The resource that Azure's SDKs poll."""
        return f"{self.base}/operations/{job.id}"

    def result(self, job: Job) -> str:
        """The URL that the handler set, or the job's own result resource."""
        if job.result_url is not None:
            return self.to(job.result_url) if job.result_url.startswith("/") else job.result_url
        return f"{self.base}/jobs/{job.id}/result"
