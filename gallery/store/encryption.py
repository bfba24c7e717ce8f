"""An encrypted database: SQLCipher, through the driver of the extra `encrypted`."""

from __future__ import annotations

import re
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from types import ModuleType

from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.pool import ConnectionPoolEntry

from gallery.errors import SettingInvalid


def encrypting() -> ModuleType:
    """The driver. Raises SettingInvalid when it is not installed."""
    try:
        return import_module("sqlcipher3.dbapi2")
    except ImportError as error:
        raise SettingInvalid(
            "GALLERY_KEY_FILE is set, but SQLCipher's driver is not installed:"
            " pip install 'face-gallery[encrypted]'"
        ) from error


def unlocking(key: str) -> Callable[[DBAPIConnection, ConnectionPoolEntry], None]:
    """What gives each new connection the key: raw, so that no time is spent on deriving it."""

    def unlock(connection: DBAPIConnection, _record: ConnectionPoolEntry) -> None:
        cursor = connection.cursor()
        cursor.execute("PRAGMA cipher_log_level = NONE")  # what is wrong is raised, not printed
        cursor.execute(f"PRAGMA key = \"x'{key}'\"")

    return unlock


def read_key(file: Path) -> str:
    """The key in a file: 64 hexadecimal digits. Raises SettingInvalid, and never shows the key."""
    try:
        text = file.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not ASCII"
        raise SettingInvalid(f"GALLERY_KEY_FILE {file} cannot be read: {reason}") from error
    if not re.fullmatch("[0-9a-fA-F]{64}", text):
        raise SettingInvalid(
            f"GALLERY_KEY_FILE {file} has {len(text)} characters, expected 64 hexadecimal digits"
            " (openssl rand -hex 32 makes them)"
        )
    return text.lower()
