"""Print the table of ratios: what a part of the work costs against a plain reference, in one run.

    python -m benchmarks
    python -m benchmarks --clip plate.mov --source person.mov --rows stages sizes
    python -m benchmarks --frames 100 --memory-frames 50 500

Both sides of a ratio take turns. Rows of single frames and kernels run on one core, and their processor seconds are
compared, so that other programs on the machine matter little. Rows of whole shots compare wall seconds of processes of
their own. Without a clip two public-domain stills are used. The rows of a GPU are in benchmarks/gpu.py.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

from benchmarks.table import Row, describe_machine, print_table, use_one_core

ROWS = ("stages", "sizes", "knob", "cores", "overlap", "memory", "analysis", "poisson", "colour", "exr", "networks")
ONE_CORE_ROWS = ("stages", "sizes", "knob", "analysis", "poisson", "colour", "exr")


def make_rows(options: argparse.Namespace, folder: Path) -> dict[str, Callable[[], Iterator[Row]]]:
    """Make what measures each selection of rows."""
    from benchmarks import analysis_rows, frame_rows, kernel_rows, network_rows, shot_rows
    from benchmarks.clips import Footage

    footage = Footage(folder, options.clip, options.source)
    rounds, frames = options.rounds, options.frames
    return {
        "stages": lambda: frame_rows.measure_stages(footage, rounds),
        "sizes": lambda: frame_rows.measure_plate_sizes(footage, rounds),
        "knob": lambda: frame_rows.measure_knob(footage, rounds),
        "cores": lambda: shot_rows.measure_cores(footage, options.shot_rounds, frames),
        "overlap": lambda: shot_rows.measure_overlap(footage, options.shot_rounds, frames),
        "memory": lambda: shot_rows.measure_memory(footage, *options.memory_frames),
        "analysis": lambda: analysis_rows.measure_analysis(footage, rounds, frames),
        "poisson": lambda: kernel_rows.measure_poisson(rounds, options.poisson_sizes),
        "colour": lambda: kernel_rows.measure_colour(rounds),
        "exr": lambda: kernel_rows.measure_exr(rounds),
        "networks": lambda: network_rows.measure_networks(rounds),
    }


def measure_rows(names: list[str], makers: dict[str, Callable[[], Iterator[Row]]]) -> Iterator[Row]:
    """Measure the selected rows in order."""
    for name in names:
        with ExitStack() as stack:
            if name in ONE_CORE_ROWS:
                stack.enter_context(use_one_core())
            yield from makers[name]()


def parse_options() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clip", default="", help="the target: a clip with a face")
    parser.add_argument("--source", default="", help="a clip or a still of another person")
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=ROWS)
    parser.add_argument("--rounds", type=int, default=5, help="of rows of frames and kernels")
    parser.add_argument("--shot-rounds", type=int, default=3, help="of rows of whole shots")
    parser.add_argument("--frames", type=int, default=12, help="of rows of whole shots, and of the analysis")
    parser.add_argument("--memory-frames", type=int, nargs=2, default=(12, 60), metavar=("FEW", "MANY"))
    parser.add_argument("--poisson-sizes", type=int, nargs="+", default=(256, 512, 1024, 2048), metavar="PIXELS")
    parser.add_argument("--folder", type=Path, help="for plates, results and tracks, kept for the next run")
    return parser.parse_args()


def main() -> None:
    """Print the table as Markdown."""
    options = parse_options()
    with tempfile.TemporaryDirectory(prefix="fsgan-benchmarks-") as temporary:
        folder = (options.folder or Path(temporary)).resolve()
        os.environ["FSGAN_CACHE"] = str(folder / "cache")
        folder.mkdir(parents=True, exist_ok=True)
        print(f"{describe_machine()}\n")
        print_table(measure_rows(list(options.rows), make_rows(options, folder)))


if __name__ == "__main__":
    main()
