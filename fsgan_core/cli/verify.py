"""`fsgan verify`: checks that finished frames are whole and what a shot asks for."""

from __future__ import annotations

import argparse
from argparse import Namespace
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from fsgan_core.contract.errors import FramesFailedError

if TYPE_CHECKING:
    from fsgan_core.cli.present import Presenter
    from fsgan_core.render.verify import VerifiedFrame

__all__ = ["DESCRIPTION", "add_flags", "run_verify"]

DESCRIPTION = """\
Checks finished frames, byte by byte, against the checksum that each of them carries. Of a shot's frames it also says
whether they are what the shot asks for now, and whether the pixels outside the face are the target's, bit for bit.
Nothing is rendered or changed.

  fsgan verify shot.toml
  fsgan verify 'out/swap.####.exr' --frames 1001-1048

The exit code is 0 only if every frame is there, whole, marked as synthetic and up to date; else 1. Frames that a shot
skips, because its target has no such frame (output.missing=skip), are listed and are no failure.
"""

SHOT_SUFFIX = ".toml"


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Adds what only `fsgan verify` has."""
    parser.add_argument("files", metavar="SHOT|FRAMES", help="a shot file (.toml), or EXR files like out/swap.####.exr")
    parser.add_argument(
        "--device",
        metavar="NAME",
        default="auto",
        help="where the shot's networks ran: auto, cpu, cuda, cuda:1, mps (default: auto)",
    )


def _describe_problems(wrong: Sequence[VerifiedFrame]) -> Iterator[str]:
    """One line for all frames with the same trouble, in the order of their first frames."""
    from fsgan_core.plates.sequence import format_frames

    groups: dict[tuple[str, str], list[VerifiedFrame]] = {}
    for one in wrong:
        # A message may name the file, and only that differs from frame to frame.
        groups.setdefault((one.state, one.message.replace(one.path, "the file")), []).append(one)
    for (state, message), members in groups.items():
        if len(members) == 1:
            yield f"frame {members[0].frame} is {state}: {members[0].path}: {members[0].message}"
        else:
            numbers = format_frames([one.frame for one in members], limit=0)
            yield f"{len(members)} frames are {state}: {numbers} in {Path(members[0].path).parent}: {message}"


def run_verify(options: Namespace, presenter: Presenter) -> int:
    """Runs `fsgan verify`."""
    from fsgan_core.render.plan import describe_skipped_frames
    from fsgan_core.render.verify import SKIPPED, verify_files, verify_shot

    if options.files.lower().endswith(SHOT_SUFFIX):
        from fsgan_core.clips.shot_file import load_shot
        from fsgan_core.runtime.device import choose_device

        shot, device = load_shot(options.files), choose_device(options.device)
        verified = verify_shot(shot, options.frames, device=device, on_event=presenter.on_event)
    else:
        verified = verify_files(options.files, options.frames, presenter.on_event)
    wrong = [verified_frame for verified_frame in verified if verified_frame.is_wrong]
    skipped = [verified_frame.frame for verified_frame in verified if verified_frame.state == SKIPPED]
    counts = Counter(verified_frame.state for verified_frame in verified)
    code = FramesFailedError.exit_code if wrong else 0
    if options.json:
        frames = [asdict(verified_frame) for verified_frame in verified]
        facts = {"ok": not wrong, "exit_code": code, "command": "verify"}
        presenter.print_json({**facts, "counts": dict(counts), "skipped": skipped, "frames": frames})
        return code
    for line in _describe_problems(wrong):
        presenter.print_problem(line)
    presenter.print_line(f"verify: {', '.join(f'{count} {state}' for state, count in counts.items())}; {options.files}")
    if skipped:
        presenter.print_line(f"  {describe_skipped_frames(skipped)}")
    return code
