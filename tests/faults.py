"""A fault campaign on a farm's job: killed tasks and workers, a full disk, late and broken frames. Whatever happens,
no file under a final name is ever other than the undisturbed render's, and running again finishes.

A small one runs with the tests. The full one, from the project's folder:

    python -m tests.faults --kills 30 --frames 24
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np

from fsgan_core.contract.params import MaskParams
from fsgan_core.contract.shot import Clip, Output, Shot
from fsgan_core.plates.exr import write_exr
from fsgan_core.render.farm import FarmOptions, make_bundle, write_bundle
from fsgan_core.render.shotfile import save_shot
from tests.render.conftest import plate_of

ROOT = Path(__file__).resolve().parents[1]
DONE, SOME_FAILED, BAD_INPUT, MACHINE = 0, 1, 2, 3
REACH = MaskParams().smooth  # neighbours on either side that a matte is averaged with


def make_shot(folder: Path, target: np.ndarray, source: np.ndarray, frames: int) -> Path:
    """plate.####.exr, source.png and shot.toml. target, source: uint8 RGB portraits."""
    for frame in range(1, frames + 1):
        write_exr(folder / f"plate.{frame:04d}.exr", plate_of(target, frame))
    face = cv2.resize(source[:300, 80:380], None, fx=0.9, fy=0.9, interpolation=cv2.INTER_AREA)
    cv2.imwrite(str(folder / "source.png"), face[..., ::-1])
    path = folder / "shot.toml"
    save_shot(path, Shot((Clip(str(folder / "source.png")),), Clip(str(folder / "plate.####.exr")),
                         Output(str(folder / "out" / "swap.####.exr"))))
    return path


def sums(folder: Path) -> dict[str, str]:
    """Digests of the frames in a folder, by name."""
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.glob("*.exr"))}


def environment(cache: Path) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "FSGAN_CACHE": str(cache), "FSGAN_PROGRESS": "openjd"}


@dataclass
class Campaign:
    """A job of `frames` frames in chunks, and what was done to it."""

    folder: Path
    frames: int
    chunk: int
    seed: int
    wanted: dict[str, str] = field(default_factory=dict)
    told: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.chance = random.Random(self.seed)
        self.job = self.folder / "job"
        self.work = self.folder / "work"
        self.output = self.folder / "out"
        bundle = make_bundle(Shot((Clip(str(self.folder / "source.png")),), Clip(str(self.folder / "plate.####.exr")),
                                  Output(str(self.output / "swap.####.exr"))),
                             FarmOptions(chunk=self.chunk, work=str(self.work)))
        write_bundle(bundle, self.job)
        self.chunks = [f"{first}-{min(first + self.chunk - 1, self.frames)}"
                       for first in range(1, self.frames + 1, self.chunk)]

    # Tasks.

    def start(self, *arguments: str, limit: int = 0) -> subprocess.Popen[bytes]:
        """`fsgan farm task ...` in a process group of its own. limit: bytes that a file may have."""

        def limited() -> None:
            import resource

            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

        return subprocess.Popen(
            [sys.executable, "-m", "fsgan_core.cli", "farm", "task", arguments[0], str(self.job / "shot.toml"),
             "--work", str(self.work), *arguments[1:]], env=environment(self.folder / "cache"),
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True,
            preexec_fn=limited if limit else None)

    def run(self, *arguments: str, limit: int = 0) -> tuple[int, str]:
        process = self.start(*arguments, limit=limit)
        _, error = process.communicate(timeout=300)
        return process.returncode, error.decode("utf-8", "replace")

    def worker(self, frames: str) -> subprocess.Popen[bytes]:
        """`fsgan worker` that was told to render these frames."""
        from fsgan_core.contract.protocol import PROTOCOL, Hello, Render
        from fsgan_core.render.shotfile import load_shot

        process = subprocess.Popen([sys.executable, "-m", "fsgan_core.cli", "worker", "--log", os.devnull],
                                   env=environment(self.folder / "cache"), stdin=subprocess.PIPE,
                                   stdout=subprocess.DEVNULL, start_new_session=True)
        assert process.stdin is not None
        shot = load_shot(self.job / "shot.toml").to_dict()
        process.stdin.write(Hello(1, PROTOCOL, "faults").to_line() + Render(2, shot, frames=frames).to_line())
        process.stdin.flush()
        return process

    # Faults.

    def prepare(self) -> float:
        """Analysis, with a plate that arrives late; then an undisturbed render elsewhere. Its seconds by chunk."""
        late = self.folder / f"plate.{self.chance.randint(2, self.frames):04d}.exr"
        aside = late.with_suffix(".aside")
        late.rename(aside)
        code, error = self.run("analyse-target", "--frames", f"1-{self.frames}")
        assert code == BAD_INPUT and str(int(late.stem.split(".")[1])) in error, error
        aside.rename(late)
        assert self.run("analyse-target", "--frames", f"1-{self.frames}")[0] == DONE
        assert self.run("analyse-source", "--number", "1")[0] == DONE
        begun = time.perf_counter()
        quiet = self.folder / "quiet"
        code, error = self.run("render", "--frames", f"1-{self.frames}", "--path", f"output={quiet}")
        assert code == DONE, error
        self.wanted = sums(quiet)
        assert len(self.wanted) == self.frames
        shutil.rmtree(self.work / "frames")
        return time.perf_counter() - begun

    def kill(self, seconds: float) -> None:
        """A task or a worker, killed at some moment."""
        frames = self.chance.choice(self.chunks)
        if self.chance.random() < 0.3:
            process, what = self.worker(frames), "workers killed"
        else:
            process, what = self.start("render", "--frames", frames), "tasks killed"
        time.sleep(self.chance.uniform(0.0, seconds))
        ended = process.poll()
        if ended is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        self.count(what if ended is None else "done before the kill")
        self.check()

    def disk_full(self) -> None:
        """Files may not grow beyond a few blocks: the machine's trouble, told as such."""
        shutil.rmtree(self.output, ignore_errors=True)
        code, error = self.run("render", "--frames", self.chunks[0], limit=4096)
        assert code == MACHINE and "openjd_fail: cannot write" in error, (code, error)
        self.count("disk full")
        self.check()

    def corrupt(self) -> None:
        """A plate is cut off after the analysis: it alone fails. Frames whose matte is averaged with it come out
        without it, under another key, and are rendered anew with it once it is mended."""
        number = self.chance.randint(1, self.frames)
        plate = self.folder / f"plate.{number:04d}.exr"
        whole = plate.read_bytes()
        plate.write_bytes(whole[:len(whole) // 2])
        shutil.rmtree(self.output, ignore_errors=True)
        shutil.rmtree(self.work / "frames", ignore_errors=True)
        codes = [self.run("render", "--frames", frames)[0] for frames in self.chunks]
        assert sorted(codes, reverse=True) == [SOME_FAILED] + [DONE] * (len(codes) - 1), codes
        code, _ = self.run("report")
        assert code == SOME_FAILED
        failed = json.loads((self.work / "report" / "result.json").read_text())["failed"]
        assert [one["frame"] for one in failed] == [number], failed
        near = {f"swap.{frame:04d}.exr" for frame in range(number - REACH, number + REACH + 1)}
        found = sums(self.output)
        assert set(found) == set(self.wanted) - {f"swap.{number:04d}.exr"}, sorted(found)
        assert all(found[name] == self.wanted[name] for name in set(found) - near)
        plate.write_bytes(whole)
        assert all(self.run("render", "--frames", frames)[0] == DONE for frames in self.chunks)
        self.check(without=set())
        self.count("corrupt frames")

    def vanish(self) -> None:
        """A plate that is away while its chunk renders (a stale listing, a copy under way)."""
        number = self.chance.randint(1, self.frames)
        plate = self.folder / f"plate.{number:04d}.exr"
        aside = plate.with_suffix(".aside")
        plate.rename(aside)
        code, error = self.run("render", "--frames", self.chance.choice(self.chunks))
        assert code == BAD_INPUT and f"has no frame {number} here" in error, (code, error)
        aside.rename(plate)
        self.count("late frames")
        self.check()

    # Outcome.

    def count(self, what: str) -> None:
        self.told[what] = self.told.get(what, 0) + 1

    def check(self, without: set[str] | None = None) -> None:
        """What lies under a final name is right. without: names that must not be there, while all others are."""
        found = sums(self.output)
        wrong = [name for name, digest in found.items() if self.wanted.get(name) != digest]
        assert not wrong, f"other than the undisturbed render: {wrong}"
        if without is not None:
            assert set(found) == set(self.wanted) - without, sorted(found)

    def finish(self) -> None:
        """Everything again, as an engine would, and the report."""
        for frames in self.chunks:
            code, error = self.run("render", "--frames", frames)
            assert code == DONE, error
        assert self.run("report")[0] == DONE
        self.check(without=set())
        left = [path.name for path in self.output.iterdir() if path.name.endswith(".tmp")]
        self.told["abandoned files"] = len(left)


def campaign(folder: Path, target: np.ndarray, source: np.ndarray, *, frames: int, chunk: int, kills: int, seed: int,
             plates: bool = True, say: Callable[[str], None] = lambda line: None) -> dict[str, int]:
    """Every fault in a seeded order; what was done, by name. plates: corrupt and late ones too. Raises AssertionError
    at the first wrong file."""
    make_shot(folder, target, source, frames)
    job = Campaign(folder, frames, chunk, seed)
    seconds = job.prepare() / len(job.chunks) + 1.0
    say(f"{frames} frames in {len(job.chunks)} chunks, a kill within {seconds:.1f} s")
    faults = [lambda: job.kill(seconds)] * kills + [job.disk_full] + [job.corrupt, job.vanish] * plates
    job.chance.shuffle(faults)
    for number, fault in enumerate(faults, start=1):
        fault()
        say(f"fault {number} of {len(faults)}: {job.told}")
    job.finish()
    return job.told


def main(arguments: Sequence[str] | None = None) -> int:
    import skimage.data
    from matplotlib import cbook
    from PIL import Image

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--frames", type=int, default=24)
    parser.add_argument("--chunk", type=int, default=4)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(arguments)
    with cbook.get_sample_data("grace_hopper.jpg") as file:
        target = np.asarray(Image.open(file).convert("RGB"))
    with tempfile.TemporaryDirectory(prefix="fsgan-faults-") as folder:
        told = campaign(Path(folder), target, skimage.data.astronaut(), frames=options.frames, chunk=options.chunk,
                        kills=options.kills, seed=options.seed, say=lambda line: print(line, flush=True))  # noqa: T201
    print(f"every file equals the undisturbed render; {told}")  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
