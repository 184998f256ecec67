"""The application key of the links: apart from the other keys, since problems need it and everybody needs problems."""

from aiohttp import web

from ..links import Links

LINKS = web.AppKey("links", Links)
