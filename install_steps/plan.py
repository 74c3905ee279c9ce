"""Finds out what an install has to do: the state of .venv, and whether this machine can."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from install_steps.checkout import (
    EXIT_MACHINE,
    EXIT_WRONG_INPUT,
    INPUT_FILES,
    CheckoutPaths,
    InstallError,
    compute_digest,
    get_python_version,
    print_line,
    read_pins,
    read_stamp,
    run_quick_command,
)

REQUIRED_GB = 3.0
"""What a finished .venv takes, and what pip unpacks on the way, with PyTorch's build for the CPU."""
REQUIRED_AGAIN_GB, REQUIRED_TEMPORARY_GB = 1.0, 0.5


@dataclass(frozen=True)
class InstallPlan:
    """The steps to do (none if all is installed), the reason, and whether .venv is made anew."""

    steps: tuple[str, ...] = ()
    reason: str = ""
    is_fresh: bool = False


@contextlib.contextmanager
def hold_install_lock(places: CheckoutPaths) -> Iterator[tuple[int, ...]]:
    """Wait until no other install works in this folder; yields the descriptors that hold the lock.

    pip inherits them: where install.py is killed, its pip may live on for a while and write into .venv.
    """
    try:
        import fcntl
    except ImportError:  # Windows
        yield ()
        return
    folder = os.open(places.root, os.O_RDONLY)
    try:
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print_line("Another install is at work in this folder; waiting for it ...")
            fcntl.flock(folder, fcntl.LOCK_EX)
        except OSError:  # a file system without locks
            yield ()
            return
        yield (folder,)
    finally:
        os.close(folder)


def make_plan(places: CheckoutPaths) -> InstallPlan:
    """Plans the install. Raises InstallError if it is impossible."""
    state, why = inspect_venv(places)
    if state == "foreign":
        raise InstallError(
            EXIT_WRONG_INPUT, f"{places.venv} is there but is no Python environment. Move it away and run this again."
        )
    if state == "whole":
        return InstallPlan()
    fresh = state in ("none", "broken")
    check_machine(places, REQUIRED_GB if fresh else REQUIRED_AGAIN_GB)
    steps = [f"remove .venv ({why})"] if state == "broken" else []
    if fresh:
        steps.append(f"make .venv with Python {sys.version.split()[0]}")
    steps.append(f"install {len(read_pins(places))} pinned packages (constraints.txt) with pip")
    steps.append(f"install the project, editable, so that {places.shorten_path(places.fsgan)} runs")
    steps.append("check that every library loads")
    return InstallPlan(tuple(steps), why, fresh)


def inspect_venv(places: CheckoutPaths) -> tuple[str, str]:
    """Returns the state of .venv ("none", "foreign", "broken", "stale" or "whole") and the reason."""
    if not os.path.lexists(places.venv):
        return "none", "there is no .venv yet"
    if not places.venv.is_dir():
        return "foreign", ""
    if not any(places.venv.iterdir()):
        return "none", ".venv is empty"
    if places.marker.exists():
        return "broken", "an earlier install did not finish"
    if not (places.venv / "pyvenv.cfg").exists():
        return "foreign", ""
    version = run_quick_command([str(places.python), "-c", "import sys; print('%d.%d' % sys.version_info[:2])"])
    if version is None:
        return "broken", "its Python does not run"
    if version != get_python_version():
        return "broken", f"it was made with Python {version}"
    stamp = read_stamp(places)
    if stamp.get("root", str(places.root)) != str(places.root):
        return "broken", "the folder was moved"
    if stamp.get("digest") == compute_digest(places) and places.fsgan.exists():
        return "whole", ""
    if run_quick_command([str(places.python), "-m", "pip", "--version"]) is None:
        return "broken", "its pip does not run"
    return "stale", "the pinned packages have changed" if stamp else "it was not made by install.py"


def check_machine(places: CheckoutPaths, need_gb: float) -> None:
    """Checks files, modules, permission and disk space. Raises InstallError if an install cannot work."""
    missing = [name for name in INPUT_FILES if not (places.root / name).is_file()]
    if missing:
        raise InstallError(EXIT_WRONG_INPUT, f"{missing[0]} is missing beside install.py; clone the project again.")
    missing = [name for name in ("venv", "ensurepip") if importlib.util.find_spec(name) is None]
    if missing:
        raise InstallError(
            EXIT_WRONG_INPUT,
            f"this Python has no module {missing[0]}. On Debian or Ubuntu: "
            f"apt install python{get_python_version()}-venv. Elsewhere use a Python from python.org, "
            "pyenv or conda.",
        )
    if not os.access(places.root, os.W_OK):
        raise InstallError(
            EXIT_MACHINE, f"no permission to write in {places.root}. Run as its owner, or clone elsewhere."
        )
    for folder, amount in ((places.root, need_gb), (Path(tempfile.gettempdir()), REQUIRED_TEMPORARY_GB)):
        free = shutil.disk_usage(folder).free / 1e9
        if free < amount:
            raise InstallError(
                EXIT_MACHINE,
                f"{free:.1f} GB are free on the disk of {folder}, {amount:g} GB are needed. Free "
                "some space and run this again.",
            )
