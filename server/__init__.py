"""What a job's author imports, and nothing more.

from server import BlockingContext, Context, JobFailed, Upload, job
"""

from .context import BlockingContext, Context
from .errors import JobCancelled, JobFailed
from .handlers import Upload, job
from .resource import ResourceContext

__all__ = ["BlockingContext", "Context", "JobCancelled", "JobFailed", "ResourceContext", "Upload", "job"]
