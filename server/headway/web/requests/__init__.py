"""Reading requests: bodies, query and path parameters, headers. Bad input becomes a `Problem` here."""
