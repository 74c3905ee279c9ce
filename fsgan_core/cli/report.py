"""`fsgan report`: writes the report of a shot that is rendered, and checks limits for a pipeline."""

from __future__ import annotations

import argparse
from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from fsgan_core.contract.errors import FramesFailedError

if TYPE_CHECKING:
    from fsgan_core.cli.present import Presenter

__all__ = ["DESCRIPTION", "add_flags", "add_limit_flag", "run_report"]

DESCRIPTION = """\
Writes the report of a shot whose frames are rendered: one HTML page with a player, plots of the measured figures,
frames to look at, and what changed since the last report; the same figures as report.json and report.csv. Nothing is
rendered.

  fsgan report shot.toml
  fsgan report shot.toml --fail-on "identity>0.5" --fail-on "mean flicker>0.3"

A limit is broken if one frame is beyond it, or, with "mean", the mean over the frames. A figure that was not measured
breaks its limit. Besides the figures of report.csv, "failed" and "flagged" count frames. The exit code is 1 if a
limit is broken or a frame is not there.
"""

REPORT_FOLDER = "report"


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Adds what only `fsgan report` has."""
    parser.add_argument("shot", metavar="SHOT", help="the shot file (TOML)")
    parser.add_argument(
        "--output", "-o", metavar="DIR", default="", help="folder of the report (default: report, beside the frames)"
    )
    parser.add_argument(
        "--measure",
        choices=("all", "sampled", "none"),
        default="all",
        help="frames on which networks measure identity, gaze, lids, lips, landmarks and pose; sampled: as many as a "
        "twentieth of the render's time allows (default: all)",
    )
    add_limit_flag(parser)
    parser.add_argument(
        "--device",
        metavar="NAME",
        default="auto",
        help="where the shot's networks ran: auto, cpu, cuda, cuda:1, mps (default: auto)",
    )


def add_limit_flag(parser: argparse._ActionsContainer, condition: str = "") -> None:
    """Adds --fail-on, which `fsgan report` and the commands that render have."""
    parser.add_argument(
        "--fail-on",
        metavar="LIMIT",
        action="append",
        default=[],
        help=f'{condition}end with exit code 1 beyond this limit, such as "identity>0.5"; may be repeated',
    )


def run_report(options: Namespace, presenter: Presenter) -> int:
    """Runs `fsgan report`."""
    from fsgan_core.clips.shot_file import load_shot
    from fsgan_core.render.plan import describe_skipped_frames
    from fsgan_core.report.gather import gather_rendered_frames
    from fsgan_core.report.limits import find_broken_limits, parse_limit
    from fsgan_core.report.write import make_report
    from fsgan_core.runtime.atomic import check_output_folder
    from fsgan_core.runtime.device import choose_device

    limits = [parse_limit(text) for text in options.fail_on]
    shot = load_shot(options.shot)
    folder = Path(options.output) if options.output else Path(shot.output.path).parent / REPORT_FOLDER
    check_output_folder(folder)
    result = gather_rendered_frames(shot, folder, options.frames, choose_device(options.device))
    report = make_report(folder, shot, result, measure=options.measure, on_event=presenter.on_event)
    broken = find_broken_limits(report.data, limits)
    code = FramesFailedError.exit_code if broken or result.failures else 0
    if options.json:
        presenter.print_json(
            {
                "ok": code == 0,
                "exit_code": code,
                "command": "report",
                "report": str(report.files[0]),
                "files": [str(path) for path in report.files],
                "broken_limits": broken,
                "skipped": list(result.skipped),
                "failed": [{"frame": frame, "message": message} for frame, message in result.failures],
                "means": {figure.name: figure.mean for figure in report.data.figures},
                "remarks": [
                    {"name": one.name, "frames": list(one.frames), "reason": one.reason, "advice": one.advice}
                    for one in report.data.remarks
                ],
            }
        )
        return code
    for frame, message in result.failures:
        presenter.print_problem(f"frame {frame}: {message}")
    for line in broken:
        presenter.print_problem(f"limit {line}")
    if result.skipped:
        presenter.print_line(f"  {describe_skipped_frames(result.skipped)}")
    for remark in report.data.remarks:
        presenter.print_line(f"  {remark.name}: {remark.reason}")
    presenter.print_line(f"report: {report.files[0]}")
    return code
