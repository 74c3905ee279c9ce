"""`fsgan finetune`, and the flags of the fine-tuning that `fsgan swap --finetune` does first."""

from __future__ import annotations

import argparse
from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from fsgan_core.cli.arguments import make_source_clips, make_stages
from fsgan_core.contract.licences import LICENCE_CLASSES
from fsgan_core.runtime.user_paths import expand_home

if TYPE_CHECKING:
    from fsgan_core.cli.present import Presenter
    from fsgan_core.training.finetune_result import FinetuneResult

__all__ = ["DESCRIPTION", "add_flags", "add_swap_flags", "describe_result", "run_finetune"]

DESCRIPTION = """\
Trains the reenactment network on one person. It learns from pairs of frames of the source clip: its input is one
frame with the landmarks of the other, and its output should be the other frame. It starts from installed weights, or
from random ones.

  fsgan finetune --source anna.mov -o anna.safetensors
  fsgan swap --source anna.mov --target plate.####.exr --output out/swap.####.exr \\
             --set reenact.network=anna.safetensors

If a run is interrupted, the same command continues it. See docs/finetune.md.
"""

NO_PREVIEW = "none"


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags that only this command has."""
    group = parser.add_argument_group("start")
    group.add_argument(
        "--network",
        metavar="NAME",
        default="",
        help="weights to start from: a name from `fsgan weights list`, or a file (default: the best installed "
        "reenactment weights)",
    )
    group.add_argument("--from-scratch", action="store_true", help="start from random weights")
    group.add_argument(
        "--ngf",
        metavar="N",
        type=int,
        default=32,
        help="width of the network, with --from-scratch (published: 128; default: 32)",
    )
    group.add_argument(
        "--resolution",
        metavar="PIXELS",
        type=int,
        default=0,
        help="side of the network's square input, a multiple of 32 (default: that of the weights; 256 with "
        "--from-scratch)",
    )
    group = parser.add_argument_group("recipe")
    group.add_argument(
        "--iterations", metavar="N", type=int, default=800, help="training steps (default: 800, as published)"
    )
    group.add_argument("--batch", metavar="N", type=int, default=3, help="pairs of frames per step (default: 3)")
    group.add_argument("--rate", metavar="R", type=float, default=1e-4, help="learning rate (default: 0.0001)")
    group.add_argument(
        "--prewarp",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="give the network a source frame that is already warped to the other frame's landmarks (default: as the "
        "weights were trained; on with --from-scratch)",
    )
    group.add_argument(
        "--precision",
        choices=("auto", "fp32", "bf16"),
        default="auto",
        help="precision of the arithmetic; auto uses bf16 if the hardware supports it",
    )
    group.add_argument(
        "--seed", metavar="N", type=int, default=1, help="seed for the order of pairs and for random weights"
    )
    group = parser.add_argument_group("output")
    group.add_argument(
        "--output",
        "-o",
        metavar="FILE",
        default="",
        help="weights file to write, .safetensors (default: named after the source, in the current folder)",
    )
    group.add_argument(
        "--licence",
        choices=LICENCE_CLASSES,
        default="unknown",
        help="licence class of the footage; the weights get the stricter of this and of the starting weights' class",
    )
    group.add_argument(
        "--preview",
        metavar="DIR",
        default=None,
        help="folder for preview pictures (default: beside the output); none writes no previews",
    )
    group.add_argument(
        "--preview-every", metavar="N", type=int, default=100, help="iterations between two previews (default: 100)"
    )
    group.add_argument(
        "--resume",
        action="store_true",
        help="continue a run, and fail if there is none (without it: continue a run, or else start one)",
    )


def add_swap_flags(parser: argparse.ArgumentParser) -> None:
    """Add the fine-tuning flags of `fsgan swap`."""
    group = parser.add_argument_group("fine-tuning")
    group.add_argument(
        "--finetune",
        metavar="N",
        type=int,
        default=0,
        help="first fine-tune the reenactment network on this source, for N iterations (published: 800); the weights "
        "are kept in the cache",
    )
    group.add_argument(
        "--finetune-licence", choices=LICENCE_CLASSES, default="unknown", help="licence class of the source's footage"
    )


def run_finetune(options: Namespace, presenter: Presenter) -> int:
    """Run `fsgan finetune`."""
    from fsgan_core.training.finetune import finetune_network, make_default_output

    output = expand_home(options.output or make_default_output(options.source[0]))
    preview = Path(options.preview) if options.preview else output.with_name(f"{output.stem}_preview")
    result = finetune_network(
        make_source_clips(options),
        output,
        network=options.network,
        from_scratch=options.from_scratch,
        width=options.ngf,
        resolution=options.resolution,
        iterations=options.iterations,
        batch=options.batch,
        rate=options.rate,
        prewarp=options.prewarp,
        precision=options.precision,
        seed=options.seed,
        stages=make_stages(options),
        licence=options.licence,
        preview=None if options.preview == NO_PREVIEW else preview,
        preview_every=options.preview_every,
        device=options.device,
        force=options.force,
        only_resume=options.resume,
        on_event=presenter.on_event,
    )
    if options.json:
        presenter.print_json({"ok": True, "exit_code": 0, **result.to_dict()})
    else:
        for line in describe_result(result):
            presenter.print_line(line)
    return 0


def describe_result(result: FinetuneResult) -> list[str]:
    """Describe a fine-tuning result in a few lines for people."""
    if result.state == "kept":
        return [f"finetune: {result.output} is up to date; kept"]
    lines = [
        f"finetune: {result.iterations} iterations on {result.source} from {result.start}; {result.output}",
        f"  loss {result.first_loss:.4f} -> {result.last_loss:.4f}; {result.seconds:.0f} s on {result.device} with "
        f"{result.precision}; licence class {result.licence}",
    ]
    measured_on = (
        f"{result.held_out_count} held-out frames"
        if result.held_out_count
        else "training frames (too few to hold any out)"
    )
    view = "warped view" if result.prewarp else "view"
    for name, figures in (
        (view, result.view_figures),
        ("network before", result.figures_before),
        ("network after", result.figures_after),
    ):
        lines.append(f"  {name}, on {measured_on}: {figures}")
    return lines
