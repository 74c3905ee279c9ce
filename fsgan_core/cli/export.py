"""`fsgan export ...`: files for other programs."""

from __future__ import annotations

import argparse
from argparse import Namespace
from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from fsgan_core.contract.licences import LICENCE_LIMITS
from fsgan_core.runtime.user_paths import expand_home

if TYPE_CHECKING:
    from fsgan_core.cli.present import Presenter

__all__ = ["DESCRIPTION", "add_flags"]

DESCRIPTION = """\
Writes files for other programs.

  fsgan export cattery -o nuke/fsgan_cattery
  fsgan export cattery -o nuke/fsgan_cattery --network ijbc_msrunet_256_1_2_blending_v2

cattery: exports the networks on this machine as TorchScript for Nuke's own Inference node, with gizmos and a
script that makes the .cat files. See docs/cattery.md.
"""

FlagAdder = Callable[[argparse.ArgumentParser], None]


def add_flags(parser: argparse.ArgumentParser, add_message_flags: FlagAdder, formatter: Any, epilog: str) -> None:
    """Add the actions of `fsgan export`; `add_message_flags` adds the flags that every command has."""
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    short = "Exports the networks for Nuke's Inference node."
    action_parser = actions.add_parser(
        "cattery", help=short, description=short, epilog=epilog, allow_abbrev=False, formatter_class=formatter
    )
    action_parser.add_argument(
        "--output", "-o", metavar="DIR", required=True, help="folder to write, to be put into NUKE_PATH"
    )
    action_parser.add_argument(
        "--network",
        metavar="NAME",
        action="append",
        default=[],
        help="weights by name or file; may be repeated (default: for every node the best weights on this machine)",
    )
    action_parser.add_argument(
        "--allow",
        metavar="CLASS",
        default="any",
        choices=LICENCE_LIMITS,
        help=f"licence classes that may be exported: {', '.join(LICENCE_LIMITS)}",
    )
    action_parser.set_defaults(run=run_cattery, command="export")
    add_message_flags(action_parser)


def run_cattery(options: Namespace, presenter: Presenter) -> int:
    """Run `fsgan export cattery`."""
    from fsgan_core.networks.cattery.export import CATTERY_FOLDER, choose_weights, export_cattery

    folder = expand_home(options.output)
    chosen = choose_weights(options.network, options.allow)
    exported = export_cattery(folder, chosen, skips_misfits=not options.network)
    if options.json:
        presenter.print_json(
            {
                "ok": True,
                "exit_code": 0,
                "folder": str(folder / CATTERY_FOLDER),
                "nodes": [asdict(exported_node) for exported_node in exported],
            }
        )
        return 0
    for exported_node in exported:
        licences = ", ".join(dict.fromkeys(exported_node.licences))
        presenter.print_line(f"{exported_node.node}: {', '.join(exported_node.weights)} ({licences})")
    presenter.print_line(
        f"put {folder} into NUKE_PATH, open {folder / CATTERY_FOLDER / 'create_cats.nk'} in the oldest Nuke version "
        "that you use, and press the button on each node (docs/cattery.md)"
    )
    return 0
