"""Who is asking. Until there are API keys, everybody on this machine is the one local owner."""

from aiohttp import web

from ..jobs import LOCAL_OWNER


def client(request: web.BaseRequest) -> str:
    """Whose open streams are counted together: the address that the request came from."""
    return request.remote or ""


def caller(_request: web.BaseRequest) -> str:
    """The owner on whose behalf the request is made."""
    return LOCAL_OWNER
