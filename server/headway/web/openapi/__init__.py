"""`/openapi.json`: what the server does, as OpenAPI 3.1. Each area's operations are data in a module of their own.

A new endpoint is described by an entry in its area's `OPERATIONS`, under its method and path; a test holds the
entries against the routes.
"""

from .document import DESCRIPTION, Description, openapi

__all__ = ["DESCRIPTION", "Description", "openapi"]
