"""`/openapi.json`: the API as OpenAPI 3.1. A module per area holds its operations as data.

A new endpoint is described by an entry in its area's `OPERATIONS`, under its method and path; a test compares the
entries with the routes. What an endpoint does belongs in `web.endpoints`.
"""

from .document import DESCRIPTION, Description, openapi

__all__ = ["DESCRIPTION", "Description", "openapi"]
