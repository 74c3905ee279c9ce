"""Where things lie in a checkout, what a failed install says, and how programs are run in it."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
INPUT_FILES = ("constraints.txt", "pyproject.toml")
EXIT_OK, EXIT_FAILED, EXIT_WRONG_INPUT, EXIT_MACHINE, EXIT_INTERRUPTED = 0, 1, 2, 3, 130


class InstallError(Exception):
    """Ends the install with a message; `exit_code` is that of install.py."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.exit_code = code


@dataclass(frozen=True)
class CheckoutPaths:
    """Where things lie in a checkout."""

    root: Path

    @property
    def venv(self) -> Path:
        """Folder of the environment."""
        return self.root / ".venv"

    @property
    def python(self) -> Path:
        """The Python of the environment."""
        return self._get_program("python")

    @property
    def fsgan(self) -> Path:
        """The command line program of the environment."""
        return self._get_program("fsgan")

    @property
    def stamp(self) -> Path:
        """Written last: says that the environment is complete."""
        return self.venv / "fsgan-install.json"

    @property
    def discarded(self) -> Path:
        """An old .venv that is being removed."""
        return self.root / ".venv.discarded"

    @property
    def marker(self) -> Path:
        """Exists while an install is under way."""
        return self.venv / "fsgan-install.unfinished"

    @property
    def log(self) -> Path:
        """Everything that pip printed."""
        return self.venv / "fsgan-install.log"

    def _get_program(self, name: str) -> Path:
        return self.venv / ("Scripts" if os.name == "nt" else "bin") / (f"{name}.exe" if os.name == "nt" else name)

    def shorten_path(self, path: Path | str) -> str:
        """Formats a path for a message: relative if it lies in the checkout, quoted if it has spaces."""
        path = Path(path)
        text = str(path.relative_to(self.root)) if path.is_absolute() and path.is_relative_to(self.root) else str(path)
        return f'"{text}"' if " " in text else text


def make_environment() -> dict[str, str]:
    """Copies the environment without variables that let in another Python's packages or redirect pip."""
    removed = (
        "PYTHONPATH",
        "PYTHONHOME",
        "VIRTUAL_ENV",
        "__PYVENV_LAUNCHER__",
        "PIP_USER",
        "PIP_TARGET",
        "PIP_PREFIX",
        "PIP_REQUIRE_VIRTUALENV",
    )
    variables = {name: value for name, value in os.environ.items() if name not in removed}
    return {
        **variables,
        "PYTHONNOUSERSITE": "1",
        "PYTHONUNBUFFERED": "1",
        "MPLBACKEND": "Agg",
        "NO_MKDOCS_2_WARNING": "1",
    }


def compute_digest(places: CheckoutPaths) -> str:
    """Computes a digest of everything that decides what is installed."""
    whole = hashlib.sha256(get_python_version().encode())
    for name in INPUT_FILES:
        whole.update((places.root / name).read_bytes().replace(b"\r\n", b"\n") + b"\0")
    return whole.hexdigest()


def read_pins(places: CheckoutPaths) -> list[str]:
    """Reads the pinned packages, as NAME==VERSION."""
    lines = (places.root / "constraints.txt").read_text().splitlines()
    return [line.strip() for line in lines if "==" in line and not line.startswith("#")]


def read_stamp(places: CheckoutPaths) -> dict[str, str]:
    """Reads the stamp of a finished install; empty if there is none."""
    try:
        stamp = json.loads(places.stamp.read_text())
    except (OSError, ValueError):
        return {}
    return stamp if isinstance(stamp, dict) else {}


def run_quick_command(command: list[str]) -> str | None:
    """Returns what a quick command prints; None if it does not run."""
    try:
        result = subprocess.run(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            timeout=120,
            env=make_environment(),
            check=False,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return result.stdout.strip() if result.returncode == 0 else None


def get_python_version() -> str:
    """Gives the version of the running Python, such as "3.11"."""
    return f"{sys.version_info[0]}.{sys.version_info[1]}"


def indent_text(text: str, last: int = 20) -> str:
    """Indents the last lines of a text."""
    return "\n".join("  " + line for line in text.strip().splitlines()[-last:])


def format_duration(seconds: float) -> str:
    """Formats a duration for a person."""
    return f"{seconds:.1f} s" if seconds < 90 else f"{seconds // 60:.0f} min {seconds % 60:02.0f} s"


def print_line(text: str) -> None:
    """Prints a line at once, so that it stands before what a child process prints."""
    print(text, flush=True)
