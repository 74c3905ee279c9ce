"""`fsgan export ...`: what other programs take."""

from __future__ import annotations

import argparse
from argparse import Namespace
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fsgan_core.contract.licences import LICENCE_LIMITS

if TYPE_CHECKING:
    from fsgan_core.cli.present import Presenter

__all__ = ["DESCRIPTION", "add_flags"]

DESCRIPTION = """\
Writes what other programs take.

  fsgan export cattery -o nuke/fsgan_cattery
  fsgan export cattery -o nuke/fsgan_cattery --network ijbc_msrunet_256_1_2_blending_v2

cattery: the networks on this machine as TorchScript for Nuke's own Inference node, with gizmos and a script
that makes the .cat files. See docs/cattery.md.
"""

FlagAdder = Callable[[argparse.ArgumentParser], None]


def add_flags(parser: argparse.ArgumentParser, talk: FlagAdder, formatter: Any, epilog: str) -> None:
    """The actions of `fsgan export`; `talk` adds the flags that every command has."""
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    short = "The networks for Nuke's Inference node."
    made = actions.add_parser(
        "cattery", help=short, description=short, epilog=epilog, allow_abbrev=False, formatter_class=formatter
    )
    made.add_argument("--output", "-o", metavar="DIR", required=True, help="folder to write; for NUKE_PATH")
    made.add_argument(
        "--network",
        metavar="NAME",
        action="append",
        default=[],
        help="weights by name or file, once for each; none: the best on this machine for every node",
    )
    made.add_argument(
        "--allow",
        metavar="CLASS",
        default="any",
        choices=LICENCE_LIMITS,
        help=f"licence classes that may be exported: {', '.join(LICENCE_LIMITS)}",
    )
    made.set_defaults(run=run_cattery, command="export")
    talk(made)


def run_cattery(options: Namespace, presenter: Presenter) -> int:
    from fsgan_core.networks.cattery.export import CATTERY_FOLDER, choose_weights, export_cattery

    folder = Path(options.output).expanduser()
    done = export_cattery(folder, choose_weights(options.network, options.allow))
    if options.json:
        presenter.print_json(
            {"ok": True, "exit_code": 0, "folder": str(folder / CATTERY_FOLDER), "nodes": [asdict(one) for one in done]}
        )
        return 0
    for one in done:
        presenter.print_line(f"{one.node}: {', '.join(one.weights)} ({', '.join(dict.fromkeys(one.licences))})")
    presenter.print_line(
        f"put {folder} into NUKE_PATH, open {folder / CATTERY_FOLDER / 'create_cats.nk'} in the oldest Nuke that you "
        "use, and press the button of each node (docs/cattery.md)"
    )
    return 0
