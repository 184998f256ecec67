"""Reads a stream with httpx-sse, which does not reconnect: its user does."""

import json
import sys

import httpx
from httpx_sse import connect_sse

last_event_id = ""
with httpx.Client(timeout=60) as client:
    while True:
        headers = {"Last-Event-ID": last_event_id} if last_event_id else {}
        with connect_sse(client, "GET", sys.argv[1], headers=headers) as source:
            if source.response.status_code == 204:
                break
            try:
                for event in source.iter_sse():
                    sys.stdout.write(json.dumps({"event": event.event, "data": event.data}) + "\n")
                    last_event_id = event.id or last_event_id
            except httpx.TransportError:
                continue
