"""Commands about a server as its users see it: its job types, how busy it is, its page, and a login."""
