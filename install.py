#!/usr/bin/env python3
"""Make .venv beside this file, install the pinned dependencies and the project in it, and try it out.

Standard library only; the steps are in install_steps/. The syntax of this file is Python 3.6's, so that an old Python
gets as far as saying what is wrong.
"""

import sys

OLDEST_PYTHON = (3, 11)


def describe_old_python() -> str:
    """Says that this Python is too old, and which one to use."""
    from shutil import which

    oldest = f"{OLDEST_PYTHON[0]}.{OLDEST_PYTHON[1]}"
    text = f"install.py: this is Python {sys.version.split()[0]}; the project needs {oldest} or newer."
    newer = [name for name in ("python3.11", "python3.12", "python3.13", "python3.14") if which(name)]
    if newer:
        return f"{text} Run: {newer[0]} install.py"
    return f"{text} Install one (python.org, your system's packages, pyenv or conda) and run install.py with it."


if sys.version_info < OLDEST_PYTHON:
    sys.stderr.write(describe_old_python() + "\n")
    sys.exit(2)

from pathlib import Path  # noqa: E402

# An isolated Python (PYTHONSAFEPATH) does not look beside the script.
sys.path.insert(0, str(Path(__file__).resolve().parent))
try:
    from install_steps.command_line import main
except ImportError as error:
    if not (error.name or "").startswith("install_steps"):
        raise
    sys.stderr.write("install.py: install_steps is missing beside install.py; clone the project again.\n")
    sys.exit(2)

if __name__ == "__main__":
    sys.exit(main())
