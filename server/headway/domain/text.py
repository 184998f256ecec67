"""Text that can be stored and shown."""


def clean_text(text: str) -> str:
    """`text` without lone surrogates (UTF-8 cannot hold them) and NUL (SQLite's text functions stop there)."""
    return text.encode("utf-8", "replace").decode("utf-8").replace("\0", "�")
