"""`python3 -m tests.host -x SCRIPT.nk [-F 1-5] [--plugin DIR]`: the stand-in as a render node, in a process of its own.

-X NAME [-F 1-5] SCRIPT.nk renders one Write. -t FILE.py [ARG ...] runs Python in a terminal session. Exit codes as
Nuke's: 0, or 1 after an error.
"""

from __future__ import annotations

import argparse
import os
import sys
import traceback
from pathlib import Path

from tests.host import Host, new_host, start
from tests.host.values import FrameRanges


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python3 -m tests.host", description=__doc__)
    mode = parser.add_mutually_exclusive_group(required=True)
    mode.add_argument("-x", metavar="SCRIPT", help="render the active Writes of a script")
    mode.add_argument("-X", metavar="NAME", help="render one Write of a script, which stands last")
    mode.add_argument("-t", nargs="+", metavar="FILE", help="run Python; what follows reaches sys.argv")
    parser.add_argument("-F", action="append", default=[], metavar="RANGE", help="frames, as 1-5 or 30-50x2")
    parser.add_argument("--cont", action="store_true", help="continue after an error")
    parser.add_argument("--plugin", action="append", default=[], metavar="DIR", help="before NUKE_PATH")
    parser.add_argument("--group-writes", action="store_true", help="visit Writes inside groups too")
    parser.add_argument("script", nargs="?", help="with -X")
    given = parser.parse_args(arguments)
    folders = [*given.plugin, *filter(None, os.environ.get("NUKE_PATH", "").split(os.pathsep))]
    mode = "-t" if given.t else "-x"
    with new_host(mode, group_writes=given.group_writes, arguments=["nuke", *arguments]) as host:
        status = 1
        try:
            start(host, folders)
            for file, error in host.startup_errors:
                sys.stderr.write(f"Error interpreting this plugin: {file}: {error}\n")
            status = (
                _python(host, given.t)
                if given.t
                else _script(host, given.x or given.script, given.F, given.cont, given.X or "")
            )
        except Exception:
            traceback.print_exc()
        for kind, text in host.messages:
            (sys.stderr if kind in ("error", "critical") else sys.stdout).write(f"{kind}: {text}\n")
        return status


def _script(host: Host, script: str, ranges: list[str], keep_going: bool, only: str) -> int:
    host.module.scriptOpen(Path(script).as_posix())
    frames = [frame for text in ranges for frame in FrameRanges(text).toFrameList()]
    status = host.renderer.farm(frames or None, keep_going=keep_going, only=only)
    for name, frame, view in host.renderer.written:
        sys.stdout.write(f"Writing {name} frame {frame} {view}\n")
    return status


def _python(host: Host, words: list[str]) -> int:
    sys.argv = list(words)
    names = {"__name__": "__main__", "__file__": words[0], "nuke": host.module}
    exec(compile(Path(words[0]).read_text(encoding="utf-8"), words[0], "exec"), names)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
