"""The last state and the last resort on one host: two files that outlive every process."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from canary_middleware.core.codec import MAX_BYTES, SHOWN, decode, encode, printable
from canary_middleware.core.state import Document


class Disk:
    """``<namespace>.json`` holds the last state, ``<namespace>.kill`` kills this host by existing.

    Args:
        directory: created when missing.
        namespace: as in the store.
    """

    def __init__(self, directory: Path, namespace: str) -> None:
        self._directory = directory
        self._state = directory / f"{namespace}.json"
        self._kill = directory / f"{namespace}.kill"

    @property
    def kill_file(self) -> str:
        """Where the kill file would lie."""
        return str(self._kill.absolute())

    def read(self) -> Document | None:
        """What was written last, or ``None``.

        Raises:
            OSError: it cannot be read.
            StoreCorruptError: it is no control state.
        """
        try:
            with self._state.open("rb") as file:
                return decode(file.read(MAX_BYTES + 1))
        except FileNotFoundError:
            return None

    def write(self, document: Document) -> None:
        """Replace it as a whole, so that a crash leaves the old or the new one.

        Raises:
            OSError: it cannot be written.
        """
        self._directory.mkdir(parents=True, exist_ok=True)
        # Workers of one host share the directory, so each writes under its own name.
        fresh = self._state.with_suffix(f".{os.getpid()}.new")
        try:
            with fresh.open("wb") as file:
                file.write(encode(document))
                file.flush()
                os.fsync(file.fileno())
            fresh.replace(self._state)
        finally:
            with suppress(OSError):
                fresh.unlink(missing_ok=True)

    def kill_reason(self) -> str | None:
        """Text of the kill file; ``None`` when there is none. An unreadable one kills too."""
        try:
            with self._kill.open("rb") as file:
                return printable(file.read(1_000).decode(errors="replace"), SHOWN)
        except FileNotFoundError:
            return None
        except NotADirectoryError:
            return None
        except OSError as error:
            return f"the kill file cannot be read: {error.strerror}"
