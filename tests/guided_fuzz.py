"""The readers of `tests.fuzz`, fuzzed with coverage guidance by atheris (libFuzzer): an input that reaches new code is
kept and mutated further. Findings are those of `tests.fuzz`: whatever is neither read nor refused by an error of ours.

Atheris is not among the packages of the test suite (`pip install atheris`). From the project's folder:

    python -m tests.guided_fuzz --seed 1 --seconds 120 [--only track shot] [--folder KEPT]
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from pathlib import Path

from tests.fuzz import INPUT_SECONDS, make_readers

ROOT = Path(__file__).resolve().parents[1]
MEMORY_MIB = 6144
LONGEST_INPUT = 1 << 17
SHORTEST_RUN = 2.0  # seconds; less is not worth a new process
# Readers whose own code is Python, which atheris can see into. The others only hand a file to a library.
GUIDED = (
    *("track", "meshes", "shot", "preset", "plan", "script", "safetensors", "pth", "page", "statement", "mark"),
    *("protocol", "nodes", "results", "prepared", "texts"),
)


def fuzz_reader(name: str, seed: int, seconds: int, folder: Path) -> None:
    """Fuzzes one reader in this process, which libFuzzer ends. New findings are written to `folder`/findings."""
    import atheris

    corpus, findings, work = (folder / part for part in (f"corpus-{name}", "findings", f"work-{name}"))
    for made in (corpus, findings, work, work / "seeds"):
        made.mkdir(exist_ok=True)
    with atheris.instrument_imports(include=["fsgan_core"]):
        from fsgan_core.contract.errors import FsganError

        reader = make_readers(work / "seeds")[name]
        for number, content in enumerate(reader.seeds):
            (corpus / f"seed-{number}").write_bytes(content)
        path, known = work / reader.name, set[str]()

        def read_input(data: bytes) -> None:
            path.write_bytes(data)
            try:
                reader.read(path)
            except FsganError:
                return
            except Exception as error:
                ours = [frame for frame in traceback.extract_tb(error.__traceback__) if "fsgan_core" in frame.filename]
                place = (
                    f"{type(error).__name__}-{Path(ours[-1].filename).stem}-{ours[-1].lineno}" if ours else "unknown"
                )
                if place not in known:
                    known.add(place)
                    (findings / f"{name}-{place}").write_bytes(data)
                    (findings / f"{name}-{place}.txt").write_text(traceback.format_exc())

        os.chdir(work)
        limits = [f"-seed={seed}", f"-max_total_time={seconds}", f"-timeout={INPUT_SECONDS:.0f}"]
        limits += [f"-rss_limit_mb={MEMORY_MIB}", f"-max_len={LONGEST_INPUT}"]
        output = ["-print_final_stats=1", f"-artifact_prefix={findings}/{name}-", "-close_fd_mask=1"]
        atheris.Setup([sys.argv[0], str(corpus), *limits, *output], read_input)
        atheris.Fuzz()


def run_reader(name: str, seed: int, seconds: int, folder: Path) -> int:
    """Fuzzes one reader in processes of its own for so many seconds; goes on after a crash. Gives the executions."""
    done, end = 0, time.monotonic() + seconds
    while (left := end - time.monotonic()) > SHORTEST_RUN:
        process = subprocess.run(
            [
                *(sys.executable, "-m", "tests.guided_fuzz", "--child", "--only", name),
                *("--seed", str(seed), "--seconds", str(round(left)), "--folder", str(folder)),
            ],
            cwd=ROOT,
            capture_output=True,
        )
        log = process.stderr.decode("utf-8", "replace")
        (folder / f"{name}-{seed}.log").write_text(log)
        count = re.search(r"number_of_executed_units:\s*(\d+)", log)
        done += int(count[1]) if count else 0
        if process.returncode == 0 or count is None:
            return done
        seed += 1  # the same seed would end at the same input
    return done


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds", type=int, default=120, help="for each reader")
    parser.add_argument("--only", nargs="+", default=GUIDED, choices=GUIDED, help="some readers")
    parser.add_argument("--folder", type=Path, help="takes inputs that reach new code, findings and logs")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    folder = (options.folder or Path(tempfile.mkdtemp(prefix="fsgan-guided-fuzz-"))).resolve()
    if options.child:
        fuzz_reader(options.only[0], options.seed, options.seconds, folder)
    (folder / "findings").mkdir(parents=True, exist_ok=True)
    total = 0
    for name in options.only:
        done = run_reader(name, options.seed, options.seconds, folder)
        total += done
        print(f"{name}: {done} executions", flush=True)  # noqa: T201
        if not done:
            print(f"{name} did not run; see {folder / name}-*.log")  # noqa: T201
            return 2
    findings = sorted(path.name for path in (folder / "findings").iterdir() if path.suffix != ".txt")
    print(f"seed {options.seed}, {total} executions, {len(findings)} findings in {folder}: {findings}")  # noqa: T201
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
