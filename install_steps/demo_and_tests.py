"""Runs the demo and the tests in the new .venv."""

from __future__ import annotations

import subprocess
import sys
import time

from install_steps.checkout import EXIT_FAILED, EXIT_OK, CheckoutPaths, format_duration, make_environment, print_line

MIN_COVERAGE = 85
"""Per cent of the lines of fsgan_core and of the Nuke plugin that the tests must run through."""
PARALLEL_TESTS = ("--numprocesses=auto", "--maxprocesses=4", "--dist=loadfile")
"""Tests in a process for each core, a file's in one of them; each may take 2 GB."""


def make_demo_command(places: CheckoutPaths) -> list[str]:
    """Makes the command of the demo."""
    output = places.root / "out" / "demo"
    return [str(places.python), str(places.root / "examples" / "demo.py"), "--output", str(output)]


def make_test_commands(places: CheckoutPaths) -> list[list[str]]:
    """Makes the commands of all checks."""
    python = str(places.python)
    return [
        [python, "-m", "ruff", "format", "--check", "."],
        [python, "-m", "ruff", "check", "."],
        [python, "-m", "codespell_lib"],
        [python, "-m", "mkdocs", "build", "--strict", "--quiet"],
        [python, "-m", "mypy"],
        [
            python,
            "-m",
            "pytest",
            *PARALLEL_TESTS,
            "--cov=fsgan_core",
            "--cov=fsgan_nuke",
            "--cov-report=term:skip-covered",
            f"--cov-fail-under={MIN_COVERAGE}",
        ],
    ]


def run_demo(places: CheckoutPaths) -> int:
    """Runs the demo; returns the exit code of install.py."""
    print_line("Running the demo ...")
    started = time.monotonic()
    code = subprocess.call(make_demo_command(places), cwd=places.root, env=make_environment())
    if code:
        sys.stderr.write(f"install.py: the demo failed (exit code {code}).\n")
        return EXIT_FAILED
    print_line(f"Demo done in {format_duration(time.monotonic() - started)}.")
    return EXIT_OK


def run_tests(places: CheckoutPaths) -> int:
    """Runs all checks; returns the exit code of install.py."""
    failed = []
    for command in make_test_commands(places):
        name = " ".join(word for word in command[2:4] if not word.startswith("-"))
        print_line(f"Running {name} ...")
        started = time.monotonic()
        code = subprocess.call(command, cwd=places.root, env=make_environment())
        print_line(f"{name} {'failed' if code else 'passed'} in {format_duration(time.monotonic() - started)}.")
        if code:
            failed.append(name)
    if failed:
        sys.stderr.write(f"install.py: failed: {', '.join(failed)}.\n")
        return EXIT_FAILED
    return EXIT_OK
