"""A fault campaign on a farm's job: killed tasks and workers, a full disk, late and broken frames. Whatever happens,
no file under a final name is ever other than the undisturbed render's, and running again finishes.

A small one runs with the tests. The full one, from the project's folder, on two portraits or on clips of yours:

    python -m tests.faults --kills 30 --frames 24 [--target CLIP --source CLIP]
"""

from __future__ import annotations

import argparse
import contextlib
import functools
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
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import cv2
import numpy as np

from fsgan_core.contract.params import MaskParams
from fsgan_core.contract.shot import Clip, Output, Shot
from fsgan_core.farm.bundle import make_bundle, write_bundle
from fsgan_core.farm.session import SESSION_VARIABLE
from fsgan_core.farm.template import FarmOptions
from fsgan_core.plates.exr_writer import write_exr
from fsgan_core.plates.sequence import open_clip
from tests.small_shot import plate_of

ROOT = Path(__file__).resolve().parents[1]
DONE, SOME_FAILED, BAD_INPUT, MACHINE = 0, 1, 2, 3
KINDS = ("task", "session's process", "task in a session", "worker")
TRIES = 20  # for a kill that comes before the work is done
REACH = MaskParams().smooth  # neighbours on either side that a matte is averaged with


def make_plates(folder: Path, target: np.ndarray, source: np.ndarray, frames: int) -> None:
    """plate.####.exr and source.png of uint8 RGB portraits."""
    for frame in range(1, frames + 1):
        write_exr(folder / f"plate.{frame:04d}.exr", plate_of(target, frame))
    face = cv2.resize(source[:300, 80:380], None, fx=0.9, fy=0.9, interpolation=cv2.INTER_AREA)
    cv2.imwrite(str(folder / "source.png"), face[..., ::-1])


def cut_plates(folder: Path, target: Path, source: Path, frames: int) -> None:
    """plate.####.exr, linear half floats, of a clip's first frames; source.png, the first frame of another clip."""
    with open_clip(Clip(str(target))) as clip:
        for frame, number in enumerate(clip.frames[:frames], start=1):
            plate = clip.read(number)
            write_exr(folder / f"plate.{frame:04d}.exr", replace(plate, pixels=plate.pixels**2.2), depth="half")
    with open_clip(Clip(str(source))) as clip:
        picture = clip.read(clip.frames[0]).pixels[..., 2::-1]
        cv2.imwrite(str(folder / "source.png"), (picture * 255).round().astype(np.uint8))


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
        bundle = make_bundle(
            Shot(
                (Clip(str(self.folder / "source.png")),),
                Clip(str(self.folder / "plate.####.exr")),
                Output(str(self.output / "swap.####.exr")),
            ),
            FarmOptions(chunk=self.chunk, work_folder=str(self.work)),
        )
        write_bundle(bundle, self.job)
        self.chunks = [
            f"{first}-{min(first + self.chunk - 1, self.frames)}" for first in range(1, self.frames + 1, self.chunk)
        ]

    # Tasks.

    def start(self, *arguments: str, limit: int = 0, session: Path | None = None) -> subprocess.Popen[bytes]:
        """`fsgan farm task ...` in a process group of its own. limit: bytes that a file may have. session: folder of
        one whose process does the work."""

        def limited() -> None:
            import resource

            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

        return subprocess.Popen(
            [
                sys.executable,
                "-m",
                "fsgan_core.cli",
                "farm",
                "task",
                arguments[0],
                str(self.job / "shot.toml"),
                "--work",
                str(self.work),
                *arguments[1:],
            ],
            env=environment(self.folder / "cache") | ({SESSION_VARIABLE: str(session)} if session else {}),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,
            preexec_fn=limited if limit else None,
        )

    def run(self, *arguments: str, limit: int = 0) -> tuple[int, str]:
        process = self.start(*arguments, limit=limit)
        _, error = process.communicate(timeout=300)
        return process.returncode, error.decode("utf-8", "replace")

    def worker(self, frames: str) -> subprocess.Popen[bytes]:
        """`fsgan worker` that was told to render these frames."""
        from fsgan_core.clips.shot_file import load_shot
        from fsgan_core.contract.protocol import PROTOCOL_VERSION, HelloRequest, RenderRequest

        process = subprocess.Popen(
            [sys.executable, "-m", "fsgan_core.cli", "worker", "--log", os.devnull],
            env=environment(self.folder / "cache"),
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )
        assert process.stdin is not None
        shot = load_shot(self.job / "shot.toml").to_dict()
        process.stdin.write(
            HelloRequest(1, PROTOCOL_VERSION, "faults").to_line() + RenderRequest(2, shot, frames=frames).to_line()
        )
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

    def kill(self, kind: str, seconds: float) -> None:
        """A process of this kind, killed at some moment of a chunk."""
        for _ in range(TRIES):
            number = self.chance.randrange(len(self.chunks))
            if self.chance.random() < 0.7:  # else whatever earlier faults have left
                for frame in self.frames_of(number):
                    (self.output / f"swap.{frame:04d}.exr").unlink(missing_ok=True)
            met = self.killed(kind, self.chunks[number], self.chance.uniform(0.0, seconds))
            self.check()
            if met:
                self.count(f"{kind} killed")
                return
            self.count("done before the kill")
        raise AssertionError(f"no {kind} could be killed in time")

    def killed(self, kind: str, frames: str, after: float) -> bool:
        """Whether the process was still there to be killed."""
        if kind in ("task", "worker"):
            process = self.start("render", "--frames", frames) if kind == "task" else self.worker(frames)
            time.sleep(after)
            ended = process.poll() is not None
            if not ended:
                os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            return not ended
        with tempfile.TemporaryDirectory(prefix="fsgan-s-") as name:
            session = Path(name)
            keeper = subprocess.Popen(
                [sys.executable, "-m", "fsgan_core.cli", "farm", "session", "serve", name],
                env=environment(self.folder / "cache"),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
            try:
                while not (session / "socket").exists():
                    assert keeper.poll() is None, "the session's process does not start"
                    time.sleep(0.05)
                task = self.start("render", "--frames", frames, session=session)
                victim = task if kind == "task in a session" else keeper
                time.sleep(after)
                ended = task.poll() is not None
                if not ended:
                    os.killpg(victim.pid, signal.SIGKILL)
                _, error = task.communicate(timeout=300)
                assert ended or victim is task or task.returncode == DONE, error  # it has gone on by itself
            finally:
                if keeper.poll() is None:
                    os.killpg(keeper.pid, signal.SIGKILL)
                keeper.wait()
            return not ended

    def frames_of(self, chunk: int) -> range:
        return range(chunk * self.chunk + 1, min((chunk + 1) * self.chunk, self.frames) + 1)

    def disk_full(self) -> None:
        """The machine's trouble, told as such. By a small file system over the output folder; where mounts are not
        allowed, by a limit on the size of files."""
        self.output.mkdir(exist_ok=True)
        size = next(iter(self.output.glob("*.exr")), None)
        halves = 3 if self.chunk > 1 else 1  # of a frame: the last one of the chunk does not fit
        room = max(4096, size.stat().st_size * halves // 2 if size else 65536)
        with small_disk(self.output, room) as mounted:
            if not mounted:
                shutil.rmtree(self.output, ignore_errors=True)
            code, error = self.run("render", "--frames", self.chunks[0], limit=0 if mounted else 4096)
            assert code == MACHINE and "openjd_fail: cannot write" in error, (code, error)
            self.check()
        self.count("disk full, a small file system" if mounted else "disk full, a limit on files")
        self.check()

    def corrupt(self) -> None:
        """A plate is cut off after the analysis: it alone fails. Frames whose matte is averaged with it come out
        without it, under another key, and are rendered anew with it once it is mended."""
        number = self.chance.randint(1, self.frames)
        plate = self.folder / f"plate.{number:04d}.exr"
        whole = plate.read_bytes()
        plate.write_bytes(whole[: len(whole) // 2])
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


@contextlib.contextmanager
def small_disk(folder: Path, size: int) -> Iterator[bool]:
    """A file system of `size` bytes over a folder while the block runs; False where that is not allowed."""
    mount = shutil.which("mount")
    mounted = (
        mount is not None
        and subprocess.run(
            [mount, "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)], capture_output=True
        ).returncode
        == 0
    )
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", str(folder)], check=True)


def campaign(
    folder: Path,
    *,
    frames: int,
    chunk: int,
    kills: int,
    seed: int,
    plates: bool = True,
    say: Callable[[str], None] = lambda line: None,
) -> dict[str, int]:
    """Every fault in a seeded order; what was done, by name. folder: with the plates. kills: real ones, of all kinds
    in turn. plates: corrupt and late ones too. Raises AssertionError at the first wrong file."""
    job = Campaign(folder, frames, chunk, seed)
    seconds = job.prepare() / len(job.chunks) + 1.0
    say(f"{frames} frames in {len(job.chunks)} chunks, a kill within {seconds:.1f} s")
    faults = [functools.partial(job.kill, KINDS[number % len(KINDS)], seconds) for number in range(kills)]
    faults += [job.disk_full] + [job.corrupt, job.vanish] * plates
    job.chance.shuffle(faults)
    for number, fault in enumerate(faults, start=1):
        fault()
        say(f"fault {number} of {len(faults)}: {dict(sorted(job.told.items()))}")
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
    parser.add_argument("--target", type=Path, help="a clip whose first frames are the plates")
    parser.add_argument("--source", type=Path, help="a clip whose first frame is the source")
    options = parser.parse_args(arguments)
    begun = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="fsgan-faults-") as folder:
        if options.target and options.source:
            cut_plates(Path(folder), options.target, options.source, options.frames)
        else:
            with cbook.get_sample_data("grace_hopper.jpg") as file:
                portrait = np.asarray(Image.open(file).convert("RGB"))
            make_plates(Path(folder), portrait, skimage.data.astronaut(), options.frames)
        told = campaign(
            Path(folder),
            frames=options.frames,
            chunk=options.chunk,
            kills=options.kills,
            seed=options.seed,
            say=lambda line: print(line, flush=True),  # noqa: T201
        )
    print(f"{time.perf_counter() - begun:.0f} s")  # noqa: T201
    print(f"every file equals the undisturbed render; {told}")  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
