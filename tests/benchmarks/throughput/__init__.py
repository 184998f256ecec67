"""Requests and jobs a second: Headway against a bare aiohttp handler and against SAQ, and the load generators."""
