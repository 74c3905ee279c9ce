"""The main job on public-domain stills: makes a plate, swaps the face in it, says where the results lie.

    .venv/bin/python examples/demo.py [--output out/demo]

It runs what a user would type, and nothing else:

    fsgan swap --source astronaut.png --target plate/plate.####.exr --target-colorspace ACEScg
               --output swap/swap.####.exr --report report
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

import demo_plate

ROOT = Path(__file__).resolve().parent.parent
REPORT_SUFFIXES = {"contact sheet": {".jpg"}, "preview movie": {".mp4", ".avi"}, "summary": {".md", ".txt", ".html"}}
"""What the report holds, by the names' ends."""


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=ROOT / "out" / "demo", help="folder for all of it (%(default)s)")
    folder = parser.parse_args(arguments).output.resolve()
    source, plate = folder / "astronaut.png", folder / "plate" / "plate.####.exr"
    swapped, report = folder / "swap" / "swap.####.exr", folder / "report"

    print_line(f"Making the inputs in {shorten_path(folder)} ...")
    started = time.monotonic()
    demo_plate.write_source(source)
    numbers = demo_plate.write_plate(str(plate))
    print_line(f"  {len(numbers)} frames of {demo_plate.WIDTH}x{demo_plate.HEIGHT}, {time.monotonic() - started:.1f} s")

    command = [
        "swap",
        "--source",
        str(source),
        "--target",
        str(plate),
        "--target-colorspace",
        "ACEScg",
        "--output",
        str(swapped),
        "--report",
        str(report),
    ]
    print_line(f"Running: fsgan {' '.join(shorten_path(part) for part in command)}")
    started = time.monotonic()
    # Without $OCIO, so that ACEScg is known whatever the studio's config is.
    environment = {name: value for name, value in os.environ.items() if name != "OCIO"}
    code = subprocess.call([str(Path(sys.executable).with_name("fsgan")), *command], env=environment)
    if code:
        return code
    print_line(f"  {time.monotonic() - started:.1f} s")
    return show_results(swapped, numbers, report)


def show_results(swapped: Path, numbers: tuple[int, ...], report: Path) -> int:
    """Print the summary and where everything lies; 1 where something is missing."""
    missing = [path for path in list_frames(swapped, numbers) if not path.is_file()]
    written = sorted(report.iterdir()) if report.is_dir() else []
    found = {name: [path for path in written if path.suffix in suffixes] for name, suffixes in REPORT_SUFFIXES.items()}
    for path in found["summary"]:
        if path.suffix != ".html":
            print_line("\n" + path.read_text(encoding="utf-8").strip() + "\n")
    print_line("Results:")
    print_line(f"  {'EXR sequence':14} {shorten_path(swapped)}  ({numbers[0]}-{numbers[-1]})")
    for name, paths in found.items():
        for path in paths:
            print_line(f"  {name:14} {shorten_path(path)}")
    absent = [name for name, paths in found.items() if not paths] + [shorten_path(path) for path in missing]
    if absent:
        sys.stderr.write(f"demo: not written: {', '.join(absent)}\n")
        return 1
    return 0


def list_frames(pattern: Path, numbers: tuple[int, ...]) -> list[Path]:
    return [Path(str(pattern).replace("####", f"{number:04d}")) for number in numbers]


def shorten_path(path: Path | str) -> str:
    """Relative to the checkout where it lies inside."""
    text = str(path)
    return os.path.relpath(text, ROOT) if text.startswith(str(ROOT) + os.sep) else text


def print_line(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
