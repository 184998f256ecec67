"""Reads a stream with sseclient-py, which reads the bytes that any HTTP client receives."""

import json
import sys

import httpx
from sseclient import SSEClient

last_event_id = ""
with httpx.Client(timeout=60) as client:
    while True:
        headers = {"Last-Event-ID": last_event_id} if last_event_id else {}
        with client.stream("GET", sys.argv[1], headers=headers) as response:
            if response.status_code == 204:
                break
            try:
                for event in SSEClient(response.iter_bytes()).events():
                    sys.stdout.write(json.dumps({"event": event.event, "data": event.data}) + "\n")
                    last_event_id = event.id or last_event_id
            except httpx.TransportError:
                continue
