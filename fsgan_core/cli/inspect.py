"""`fsgan inspect`: prints what files say of themselves."""

from __future__ import annotations

import argparse
from argparse import Namespace
from dataclasses import asdict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fsgan_core.cli.present import Presenter

__all__ = ["DESCRIPTION", "add_flags", "run_inspect"]

DESCRIPTION = """\
Prints what files say of themselves: whether they hold synthesised pixels, from which source, by which engines and
weights, under which release. Reads EXR frames, and the mark in PNG, JPEG, MP4 and MOV files.

  fsgan inspect out/swap.1001.exr
  fsgan inspect report/contact_sheet.png report/preview.mp4

A file that says nothing may still be synthetic: anybody can remove such a mark. `fsgan verify` checks whole frames.
"""
_ANSWERS = {True: "yes", False: "no", None: "the file does not say"}


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Adds what only `fsgan inspect` has."""
    parser.add_argument("files", metavar="FILE", nargs="+", help="EXR frames, PNG or JPEG pictures, MP4 or MOV movies")


def run_inspect(options: Namespace, presenter: Presenter) -> int:
    """Runs `fsgan inspect`."""
    from fsgan_core.render.inspection import inspect_file

    statements = [inspect_file(path) for path in options.files]
    if options.json:
        presenter.print_json(
            {"ok": True, "exit_code": 0, "command": "inspect", "files": [asdict(s) for s in statements]}
        )
        return 0
    for statement in statements:
        presenter.print_line(f"{statement.path}")
        presenter.print_line(f"  synthesised pixels   {_ANSWERS[statement.is_synthetic]}")
        for name, text in sorted(statement.facts.items()):
            presenter.print_line(f"  {name:<20} {text}")
        if statement.damage:
            presenter.print_line(f"  {'damage':<20} {statement.damage}")
    return 0
