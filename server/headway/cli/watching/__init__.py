"""Watching jobs from the command line: following several at once, and how a terminal, a pipe and a program see it."""
