"""The part of a file that was downloaded so far, and a note of where it comes from."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fsgan_core.contract.errors import WeightsError
from fsgan_core.contract.plain_data import parse_json
from fsgan_core.runtime.locks import FileLockedError, hold_file_lock


@dataclass
class PartialFile:
    """The data received so far (`file`), and a note of where it comes from (`note`)."""

    path: Path
    file: Path = field(init=False)
    note: Path = field(init=False)

    def __post_init__(self) -> None:
        self.file = self.path.with_name(self.path.name + ".part")
        self.note = self.path.with_name(self.path.name + ".part.json")

    def count_bytes(self) -> int:
        """Counts the bytes received so far."""
        return self.file.stat().st_size if self.file.is_file() else 0

    def read_facts(self) -> dict[str, Any]:
        """Reads the note; empty if there is none."""
        with suppress(OSError, ValueError):
            facts = parse_json(self.note.read_text("utf-8"))
            if isinstance(facts, dict):
                return facts
        return {}

    def write_facts(self, facts: dict[str, Any]) -> None:
        """Writes the note."""
        self.note.write_text(json.dumps(facts), "utf-8")

    def compute_digest(self) -> str:
        """Computes the SHA-256 of the data."""
        with self.file.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()

    def clear(self) -> None:
        """Drops the data, keeps the file."""
        os.truncate(self.file, 0)

    def tidy(self) -> None:
        """Removes both files if no data was received."""
        if not self.count_bytes():
            self.remove()

    def remove(self) -> None:
        """Removes both files."""
        self.file.unlink(missing_ok=True)
        self.note.unlink(missing_ok=True)

    def finish(self) -> None:
        """Moves the data to its final name."""
        with self.file.open("rb") as stream:
            os.fsync(stream.fileno())
        self.file.replace(self.path)
        self.note.unlink(missing_ok=True)


@contextmanager
def lock_partial_file(part: PartialFile) -> Iterator[None]:
    """Lets one process of a machine write a part. Raises WeightsError if another one does."""
    try:
        with hold_file_lock(part.file.with_name(part.file.name + ".lock"), wait=False):
            yield
    except FileLockedError as error:
        raise WeightsError(f"{part.path.name} is being fetched by another process already") from error
