"""The command line. aiohttp and the adapters are imported by the command that needs them, so that `--help` is quick."""
