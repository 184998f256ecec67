"""The HTTP room: endpoints, streams, the wire format, problems, the page."""
