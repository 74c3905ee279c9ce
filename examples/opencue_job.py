"""A job of `fsgan farm bundle` as an OpenCue outline: prints what Cuebot would get, or launches it.

    pip install "fsgan[opencue]"
    fsgan farm bundle shot.toml -o job --chunk 10
    python3 examples/opencue_job.py job --show demo --shot s010 [--launch]

Each layer is a plain command line; Cuebot puts the frames in (#IFRAME#, #FRAME_START#, #FRAME_END#).
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from pathlib import Path
from typing import Any

from fsgan_core.clips.shot_file import load_shot
from fsgan_core.contract.errors import FsganError, InputError
from fsgan_core.farm.bundle import TRACKS_FOLDER
from fsgan_core.farm.template import from_openjd_range


def make_outline(job: Path, show: str, shot: str, user: str = "") -> Any:
    """The outline of a bundle's folder. Raises InputError where OpenCue could not cut the frames into chunks."""
    from outline import Outline
    from outline.modules.shell import Shell

    values = json.loads((job / "parameters.json").read_text(encoding="utf-8"))
    if "ShotFile" not in (job / "template.yaml").read_text(encoding="utf-8"):
        raise InputError(f"{job} is no job of a shot")
    file, work, frames = job / "shot.toml", Path(values["WorkFolder"]), from_openjd_range(values["Frames"])
    if "," in frames or "x" in frames:
        raise InputError(f"the frames {frames} have gaps, which OpenCue's chunks would fill; send them in several jobs")
    description = load_shot(file)

    def make_command(task: str, *more: str) -> str:
        words = shlex.join(
            [
                values.get("Command", "fsgan"),
                "farm",
                "task",
                task,
                str(file),
                "--work",
                str(work),
                "--device",
                values["Device"],
            ]
        )
        return f"{words} {' '.join(more)}".strip()

    made = Outline(values["JobName"].replace(" ", "_"), show=show, shot=shot, user=user or None)
    before = []
    sources = [
        number
        for number, clip in enumerate(description.source, start=1)
        if Path(clip.track).parent == work / TRACKS_FOLDER
    ]
    if sources:
        before.append(
            Shell(
                "analyse_sources",
                command=make_command("analyse-source", "--number", "#IFRAME#"),
                range=",".join(str(number) for number in sources),
            )
        )
    if Path(description.target.track).parent == work / TRACKS_FOLDER:
        looked_at = shlex.quote(from_openjd_range(values["TargetFrames"]))
        before.append(Shell("analyse_target", command=make_command("analyse-target", "--frames", looked_at), range="1"))
    render = Shell(
        "render",
        range=frames,
        chunk=int(values["ChunkSize"]),
        threadable=True,
        command=make_command(
            "render", "--frames", "#FRAME_START#-#FRAME_END#", "--expect", shlex.quote(values["Expected"])
        ),
    )
    report = Shell("report", command=make_command("report", "--frames", frames), range="1")
    for layer in (*before, render, report):
        made.add_layer(layer)
    for layer in before:
        render.depend_all(layer)
    report.depend_all(render)
    return made


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("job", type=Path, help="folder that `fsgan farm bundle` has made")
    parser.add_argument("--show", default="testing")
    parser.add_argument("--shot", default="default")
    parser.add_argument("--launch", action="store_true", help="send it to the Cuebot of CUEBOT_HOSTS")
    options = parser.parse_args()
    try:
        made = make_outline(options.job.absolute(), options.show, options.shot)
    except FsganError as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return error.exit_code
    from outline.backend import cue
    from outline.cuerun import OutlineLauncher, launch

    if options.launch:
        launch(made, use_pycuerun=False, nomail=True)
    else:
        print(cue.serialize_simple(OutlineLauncher(made, nomail=True)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
