"""The command line, one module per command. Each command imports aiohttp and the adapters when it runs, not before.

What a command does is the service's or `operating`'s; here arguments are read and answers are printed.
"""
