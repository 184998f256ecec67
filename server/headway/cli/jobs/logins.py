"""The logins of a user: a key for each server, in the system's keyring or in a file that only they can read."""

import json
import os
import tempfile
from pathlib import Path
from typing import Any

import typer

SERVICE = "headway"
FILE_NAME = "logins.json"
PRIVATE_FOLDER = 0o700


def config_folder() -> Path:
    """Where the user's configuration is: `$XDG_CONFIG_HOME/headway`, or the system's own place."""
    return Path(typer.get_app_dir("headway"))


class Logins:
    """The file `logins.json`: `current`, a URL, and `keys` by URL, where `null` stands for one in the keyring.

    Reading raises `ValueError` for a file that something else has written.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.path = (folder or config_folder()) / FILE_NAME
        self._saved = self._read()

    @property
    def current(self) -> str | None:
        """The URL of the last login."""
        url: str | None = self._saved["current"]
        return url

    def key_for(self, url: str) -> str | None:
        """The key of the login at this URL."""
        url = url.strip().rstrip("/")
        if url not in self._saved["keys"]:
            return None
        key: str | None = self._saved["keys"][url]
        keyring = _keyring()
        return keyring.get_password(SERVICE, url) if key is None and keyring is not None else key

    def remember(self, url: str, key: str | None) -> str:
        """Make this the current login. Returns where its key is kept. `key`: `None` for a server without keys."""
        keyring = _keyring()
        in_keyring = key is not None and keyring is not None and _kept(keyring, url, key)
        self._saved["current"] = url
        if key is not None:
            self._saved["keys"][url] = None if in_keyring else key
        self._write()
        return "the system's keyring" if in_keyring else str(self.path)

    def forget(self, url: str) -> bool:
        """Delete the login at this URL. Returns whether there was one."""
        known = url in self._saved["keys"] or self._saved["current"] == url
        keyring = _keyring()
        if self._saved["keys"].pop(url, "") is None and keyring is not None:
            keyring.delete_password(SERVICE, url)
        if self._saved["current"] == url:
            self._saved["current"] = None
        if known:
            self._write()
        return known

    def _read(self) -> dict[str, Any]:
        try:
            saved = json.loads(self.path.read_bytes())
        except FileNotFoundError:
            return {"current": None, "keys": {}}
        except ValueError:
            saved = None
        if not isinstance(saved, dict) or not isinstance(saved.get("keys"), dict) or "current" not in saved:
            raise ValueError(f"{self.path} is damaged: delete it, and log in again")
        return saved

    def _write(self) -> None:
        """Replace the file. A temporary file has the permissions 0600 from its beginning."""
        folder = self.path.parent
        folder.mkdir(PRIVATE_FOLDER, parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(dir=folder)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(self._saved, file, indent=2)
        Path(name).replace(self.path)


def _keyring() -> Any:
    """The package `keyring`, if it is installed and has a keyring behind it."""
    try:
        import keyring  # noqa: PLC0415 - it is no dependency
        from keyring.backends.fail import Keyring  # noqa: PLC0415
    except ImportError:
        return None
    return None if isinstance(keyring.get_keyring(), Keyring) else keyring


def _kept(keyring: Any, url: str, key: str) -> bool:
    """Whether the keyring has taken the key: it may be locked."""
    try:
        keyring.set_password(SERVICE, url, key)
    except keyring.errors.KeyringError:
        return False
    return True
