"""`fsgan inspect`: prints what files say of themselves."""

from __future__ import annotations

import argparse
from argparse import Namespace
from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fsgan_core.cli.present import Presenter
    from fsgan_core.render.inspection import FileStatement

__all__ = ["DESCRIPTION", "add_flags", "run_inspect"]

DESCRIPTION = """\
Prints what files say of themselves: whether they hold synthesised pixels, from which source, by which engines and
weights, under which release. Reads EXR frames, and the mark in PNG, JPEG, MP4 and MOV files. Checks a signed manifest
(C2PA) in the file, or beside it (FILE.c2pa), or that of the signed list of frames beside an EXR.

  fsgan inspect out/swap.1001.exr
  fsgan inspect report/contact_sheet.jpg report/preview.mp4

A file that says nothing may still be synthetic: anybody can remove such a mark. `fsgan verify` checks whole frames.
The exit code is 1 if a manifest is invalid: somebody changed the file after it was signed. It is 2 if a file cannot be
read; what the others say is printed all the same.
"""
_STATES = {
    "trusted": "valid, and the signer is trusted (FSGAN_C2PA_TRUST)",
    "valid": "valid; nobody here vouches for the signer",
    "invalid": "INVALID",
    "unchecked": "there is one; not checked",
}
_ANSWERS = {True: "yes", False: "no", None: "the file does not say"}


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Adds what only `fsgan inspect` has."""
    parser.add_argument("files", metavar="FILE", nargs="+", help="EXR frames, PNG or JPEG pictures, MP4 or MOV movies")


def run_inspect(options: Namespace, presenter: Presenter) -> int:
    """Runs `fsgan inspect`."""
    from fsgan_core.contract.errors import FramesFailedError, PlateError
    from fsgan_core.render.inspection import inspect_file

    statements: list[FileStatement] = []
    unread: dict[str, PlateError] = {}
    for path in options.files:
        try:
            statements.append(inspect_file(path))
        except PlateError as error:
            if len(options.files) == 1:
                raise
            unread[path] = error
    has_invalid = any(one.manifest is not None and one.manifest.state == "invalid" for one in statements)
    code = PlateError.exit_code if unread else FramesFailedError.exit_code if has_invalid else 0
    if options.json:
        facts = {"ok": code == 0, "exit_code": code, "command": "inspect", "files": [asdict(s) for s in statements]}
        failed = [{"path": path, "message": str(error)} for path, error in unread.items()]
        presenter.print_json({**facts, "failed": failed})
        return code
    for statement in statements:
        presenter.print_line(f"{statement.path}")
        presenter.print_line(f"  synthesised pixels   {_ANSWERS[statement.is_synthetic]}")
        for name, text in sorted(statement.facts.items()):
            presenter.print_line(f"  {name:<20} {text}")
        if statement.damage:
            presenter.print_line(f"  {'damage':<20} {statement.damage}")
        for name, text in _describe_manifest(statement):
            presenter.print_line(f"  {name:<20} {text}")
    for problem in unread.values():
        presenter.print_problem(str(problem))
    return code


def _describe_manifest(statement: FileStatement) -> Iterator[tuple[str, str]]:
    """The lines about a signed manifest."""
    manifest = statement.manifest
    if manifest is None:
        return
    place = f", of {statement.listed_in}" if statement.listed_in else ""
    yield "signed manifest", _STATES[manifest.state] + place
    if manifest.problem:
        yield "problem", manifest.problem
    if manifest.signer:
        yield "signed by", manifest.signer
    if manifest.actions:
        yield "actions", ", ".join(manifest.actions)
    if manifest.ingredients:
        yield "made from", ", ".join(manifest.ingredients)
