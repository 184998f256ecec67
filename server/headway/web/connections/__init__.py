"""Connections: how many there may be, how long a head or a body may take, how they are closed."""
