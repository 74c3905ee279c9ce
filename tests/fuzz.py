"""A mutation run over everything that reads a stranger's file or text: each input is read, or refused by an error of
ours, within a bounded time. Anything else (another exception, a crash, a hang) is a finding.

A small run is one of the tests. The full one, from the project's folder:

    python -m tests.fuzz --seed 1 --count 10000

An input is made from the seed, the reader and a number alone; `--only READER --first N --count 1` makes one again.
`python -m tests.guided_fuzz` takes the same readers and chooses its inputs by the code that they reach.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import random
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

INPUT_SECONDS = 20.0  # for one input; a busy machine is slow, a hang takes for ever
MEMORY_BYTES = 12 << 30  # of address space for the process that reads
MAX_MUTATIONS = 6
# What a person with ideas would write somewhere.
TOKENS = (
    b"[" * 2000, b"{" * 200, b'{"a":' * 500, b"9" * 40, b"9" * 5000, b"-1", b"0", b"1e308", b"1e999", b"NaN",
    b"\xff\xfe",
    b"\0", b"\n", b"\r", b'"', b"'", b"\\", b"{{x}}", b"[getenv X]", b"[", b"]", b"$env(X)", b"%0999999999d", b"####",
    b"~nouser/", b"/dev/zero", b"../", b"a." * 3000, b"\x1b[2J", b"<img src=x>", b"openjd_fail: x", b"4294967295",
    b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\x00\x00\x00\x80", b"2147483648", b"true", b"null", b"end_group\n",
    b"clone $C1 {}\n", b"Group {\n", b"inputs 9999+9999\n",
)  # fmt: skip

Read = Callable[[Path], object]


@dataclass(frozen=True)
class Reader:
    """Something that reads files. name: of the file, with the suffix that it needs. seeds: whole files to mutate."""

    read: Read
    name: str
    seeds: Sequence[bytes]


@dataclass
class Outcome:
    """What a run found. findings: reader, number and description."""

    counts: Counter[str] = field(default_factory=Counter)
    findings: list[tuple[str, int, str]] = field(default_factory=list)
    slowest: tuple[float, str, int] = (0.0, "", 0)


def mutate(seed: bytes, chance: random.Random) -> bytes:
    """The seed with some changes: bits, bytes, tokens, numbers, pieces doubled, moved or missing, the end cut off."""
    data = bytearray(seed)
    for _ in range(chance.randint(1, MAX_MUTATIONS)):
        place = chance.randrange(len(data) + 1)
        length = min(len(data) - place, int(2 ** chance.uniform(0, 10)))
        kind = chance.randrange(8)
        if kind == 0 and place < len(data):
            data[place] ^= 1 << chance.randrange(8)
        elif kind == 1 and place < len(data):
            data[place] = chance.choice((0, 1, 0x7F, 0x80, 0xFF, chance.randrange(256)))
        elif kind == 2:
            data[place:place] = chance.choice(TOKENS)
        elif kind == 3:
            data[place : place + length] = chance.choice(TOKENS)
        elif kind == 4:
            del data[place : place + length]
        elif kind == 5:
            data[place:place] = bytes(data[place : place + length]) * chance.choice((1, 2, 50))
        elif kind == 6:
            digits = [spot for spot, byte in enumerate(data[:200_000]) if byte in b"0123456789"]
            if digits:
                spot = chance.choice(digits)
                data[spot : spot + 1] = chance.choice((b"9" * 30, b"-7", b"1e308", b"0", b"65536", b"99999999", b"0.5"))
        elif chance.random() < 0.3:
            del data[place:]
    return bytes(data)


def make_input(reader: Reader, name: str, seed: int, number: int) -> bytes:
    chance = random.Random(f"{seed} {name} {number}")
    return mutate(chance.choice(reader.seeds), chance)


# The readers.


def make_readers(folder: Path) -> dict[str, Reader]:
    """All readers by name; `folder` takes the whole files."""
    import numpy as np
    import torch

    from fsgan_core.clips.presets import load_preset
    from fsgan_core.clips.shot_file import load_shot
    from fsgan_core.contract import protocol
    from fsgan_core.contract.shot import Clip, Output, Shot, Stages
    from fsgan_core.faces.face import make_face
    from fsgan_core.faces.track import Person as TrackPerson
    from fsgan_core.faces.track import Track, rebuild_faces
    from fsgan_core.faces.track_file import load_track, save_track
    from fsgan_core.faces.track_meshes import collect_meshes, load_meshes, save_meshes
    from fsgan_core.farm.nuke_assets import find_assets
    from fsgan_core.farm.nuke_script import load_script
    from fsgan_core.farm.nuke_tasks import load_node_jobs
    from fsgan_core.farm.shot_tasks import gather_result, read_unread_frames
    from fsgan_core.networks.weights.checkpoint import read_checkpoint, write_checkpoint
    from fsgan_core.networks.weights.download_page import DownloadPage
    from fsgan_core.networks.weights.safetensors_header import read_safetensors_header
    from fsgan_core.plates.colour import open_config
    from fsgan_core.plates.exr_checksum import find_damage, find_obvious_damage
    from fsgan_core.plates.exr_writer import write_exr
    from fsgan_core.plates.image_reader import read_header, read_image
    from fsgan_core.plates.plate import Plate, Window
    from fsgan_core.plates.sequence import format_output_path, open_clip, parse_frames
    from fsgan_core.plates.synthetic_mark import add_mark, append_movie_mark, read_xmp, read_xmp_fields
    from fsgan_core.render.inspection import inspect_file
    from fsgan_core.report.write import read_frame_seconds
    from fsgan_core.training.data.dataset import read_prepared_clip
    from fsgan_core.training.plan import get_preset_path, load_plan

    def keep(name: str, write: Callable[[Path], object]) -> bytes:
        path = folder / name
        write(path)
        return path.read_bytes()

    from fsgan_core.faces.mesh_pose import fit_mesh_to_landmarks
    from fsgan_core.faces.pose import FACE_MODEL

    landmarks = 4.0 * FACE_MODEL[:, :2] + (960, 540)
    mesh = fit_mesh_to_landmarks(landmarks)
    plain = {frame: make_face(frame, landmarks + frame, 0.9) for frame in (1, 2, 4)}
    meshed = {frame: make_face(frame, landmarks + frame, 0.9, mesh=mesh + frame) for frame in (1, 2)}

    def make_track(faces: Mapping[int, Any]) -> Track:
        people = (TrackPerson(0, dict(faces), dict(faces), np.full(128, 0.1)),)
        return rebuild_faces(Track("a.####.exr", tuple(range(1, 6)), 1920, 1080, 1.0, 0.25, people, "mesh", "mesh"))

    found_meshes = collect_meshes(make_track(meshed).people)
    assert found_meshes is not None
    shot = Shot(
        (Clip("anna.mov", "sRGB", person="2"),),
        Clip("plate.####.exr", track="plate.json"),
        Output("out/swap.####.exr"),
        frames="1-24",
        stages=Stages().with_settings({"blend.mix": 0.5, "mask.feather": 0.1}),
    )
    request = protocol.RenderRequest(2, shot.to_dict(), frames="1-4")
    state = {"layer.weight": torch.ones(4, 3), "layer.bias": torch.zeros(4)}
    pixels = np.random.default_rng(1).random((24, 32, 3)).astype(np.float32)

    def write_picture(path: Path) -> None:
        import OpenImageIO as oiio

        output = oiio.ImageOutput.create(str(path))
        spec = oiio.ImageSpec(32, 24, 3, "half" if path.suffix == ".exr" else "uint8")
        spec.attribute("comment", "text")
        assert output is not None and output.open(str(path), spec) and output.write_image(pixels)
        output.close()

    def write_movie(path: Path) -> None:
        import cv2

        writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 24.0, (32, 24))
        for _ in range(3):
            writer.write((pixels * 255).astype(np.uint8))
        writer.release()

    def read_script(path: Path) -> None:
        script = load_script(path)
        for write in script.list_writes():
            script.list_upstream(write.name)
        script.list_grouped_writes()
        find_assets(script, path, script.list_writes())

    def read_picture(path: Path) -> None:
        read_header(path)
        read_image(path)

    def write_frame(path: Path) -> None:
        window = Window(0, 0, 32, 24)
        metadata = {"fsgan/key": "12ab", "fsgan/synthetic": 1, "fsgan/engine": "blend=poisson", "names": ["a", "b"]}
        write_exr(path, Plate(pixels, ("R", "G", "B"), window, window, 1.0, metadata, ("half",) * 3))

    def read_statement(path: Path) -> None:
        """What `fsgan inspect` and `fsgan verify` read of an EXR, beside its pixels."""
        find_damage(path)
        find_obvious_damage(path)
        inspect_file(path)

    def read_mark(path: Path) -> None:
        read_xmp_fields(read_xmp(path))

    def write_marked_movie(path: Path) -> None:
        write_movie(path)
        append_movie_mark(path)

    def read_movie(path: Path) -> None:
        with open_clip(Clip(str(path))) as clip:
            clip.read(clip.frames[-1])

    def read_lines(path: Path) -> None:
        for line in protocol.LineSplitter().feed(path.read_bytes() + b"\n"):
            for parse in (protocol.parse_request, protocol.parse_event):
                if line is not None:
                    ignore_refusal(parse, line)

    def read_texts(path: Path) -> None:
        """One text in the places where a person types one."""
        text = path.read_bytes().decode("utf-8", "surrogateescape")
        for act in (
            lambda: parse_frames(text),
            lambda: format_output_path(text, 7),
            lambda: open_clip(Clip(text)),
            lambda: Stages().with_settings({text: "1"}),
            lambda: Stages().with_settings({"analyse.person_index": text}),
            lambda: Stages().with_settings({"analyse.person_point": text}),
            lambda: Stages().with_settings({"blend.mix": text}),
            lambda: Shot.from_dict({"source": text, "target": text, "output": text}),
        ):
            ignore_refusal(act)

    def read_results(path: Path) -> None:
        """A file of results in its three places: a report, a chunk's, and the frames that could not be read."""
        ignore_refusal(read_frame_seconds, path)
        chunks = path.parent / "frames"
        chunks.mkdir(exist_ok=True)
        (chunks / "1-2.2.json").write_bytes(path.read_bytes())
        ignore_refusal(gather_result, shot, "1-2", path.parent)
        (path.parent / "plate.unread.json").write_bytes(path.read_bytes())
        from dataclasses import replace

        ignore_refusal(read_unread_frames, replace(shot, target=Clip("x", track=str(path.parent / "plate.json"))))

    nodes = {
        "version": 1,
        "nodes": [{"node": "Swap1", "shot": shot.to_dict(), "stage": "", "upstream": {"mask": "m.####.exr"}}],
    }
    result = {
        "frames": [{"frame": 1, "state": "rendered", "seconds": {"blend": 0.5}, "flags": ["no-face"], "message": ""}],
        "seconds": {"blend": 0.5, "total": 1.0},
        "notes": ["no face in 7"],
        "machine": "a",
        "engines": {"blend": "poisson"},
        "colorspace": "ACEScg",
        "device": "cpu",
    }
    archive = {"head": json.dumps({"clip": "a", "fps": 24}), "faces": np.zeros((2, 4, 4, 3), np.uint8)}
    script_text = (Path(__file__).parent / "farm" / "script_for_fuzz.nk").read_bytes()
    ocio_text = (
        b"ocio_profile_version: 2\nsearch_path: luts\nroles: {scene_linear: lin, default: lin}\nfile_rules:\n"
        b"  - !<Rule> {name: Default, colorspace: default}\ndisplays:\n"
        b"  sRGB:\n    - !<View> {name: Raw, colorspace: lin}\n"
        b"colorspaces:\n  - !<ColorSpace> {name: lin, encoding: scene-linear}\n  - !<ColorSpace>\n    name: camera\n"
        b"    to_scene_reference: !<ExponentTransform> {value: 2.2}\n"
    )
    preset_text = b'summary = "x"\nextends = "as-published"\n[stages.mask]\nfeather = 0.1\n[stages.blend]\nmix = 0.5\n'
    texts = [b"1001-1048x2,1060", b"out/swap.%04d.exr", b"mask.feather", b"12,34.5", b"~/plates/a.####.exr", b"0.25"]
    page = (
        b'<html><head><title>x</title></head><form id="download-form" action="/uc"><input name="id" value="1"></form>'
    )
    return {
        "track": Reader(load_track, "a.json", [keep("t.json", lambda path: save_track(path, make_track(plain)))]),
        "meshes": Reader(
            lambda path: load_meshes(path, found_meshes.digest),
            "a.npz",
            [keep("m.npz", lambda path: save_meshes(path, found_meshes))],
        ),
        "shot": Reader(load_shot, "a.toml", [keep("s.toml", shot.save)]),
        "plan": Reader(
            lambda path: load_plan(path, "reenact"), "a.toml", [get_preset_path("reenact", "small").read_bytes()]
        ),
        "preset": Reader(lambda path: load_preset(str(path)), "a.toml", [preset_text]),
        "script": Reader(read_script, "a.nk", [script_text]),
        "pth": Reader(
            read_checkpoint,
            "a.pth",
            [
                keep("w.pth", lambda path: torch.save({"arch": "a", "state_dict": state}, path)),
                keep("o.pth", lambda path: torch.save(state, path, _use_new_zipfile_serialization=False)),
            ],
        ),
        "safetensors": Reader(
            lambda path: (read_safetensors_header(path), read_checkpoint(path)),
            "a.safetensors",
            [keep("w.safetensors", lambda path: write_checkpoint(path, "a", state, {"note": "x"}))],
        ),
        "page": Reader(lambda path: DownloadPage.read(iter([path.read_bytes()])), "a.html", [page]),
        "exr": Reader(read_picture, "a.exr", [keep("p.exr", write_picture)]),
        "statement": Reader(read_statement, "b.exr", [keep("f.exr", write_frame)]),
        "mark": Reader(
            read_mark,
            "a.bin",
            [
                add_mark(keep("m.png", write_picture)),
                add_mark(keep("m.jpg", write_picture)),
                keep("m.mp4", write_marked_movie),
            ],
        ),
        "png": Reader(read_picture, "a.png", [keep("p.png", write_picture)]),
        "jpeg": Reader(read_picture, "a.jpg", [keep("p.jpg", write_picture)]),
        "tiff": Reader(read_picture, "a.tif", [keep("p.tif", write_picture)]),
        "dpx": Reader(read_picture, "a.dpx", [keep("p.dpx", write_picture)]),
        "movie": Reader(read_movie, "a.mp4", [keep("p.mp4", write_movie)]),
        "ocio": Reader(lambda path: open_config(str(path)), "a.ocio", [ocio_text]),
        "protocol": Reader(read_lines, "a.txt", [request.to_line(), protocol.PongEvent(1).to_line()]),
        "nodes": Reader(load_node_jobs, "nodes.json", [json.dumps(nodes).encode()]),
        "results": Reader(read_results, "result.json", [json.dumps(result).encode(), b'{"7": "cut off"}']),
        "prepared": Reader(
            read_prepared_clip, "a.npz", [keep("f.npz", lambda path: np.savez(path.open("wb"), **archive))]
        ),
        "texts": Reader(read_texts, "a.txt", texts),
    }


def ignore_refusal(act: Callable[..., object], *given: object) -> None:
    from fsgan_core.contract.errors import FsganError

    try:
        act(*given)
    except FsganError:
        return


# The run.


def serve(connection: Connection, seed: int, folder: str) -> None:
    """The process that reads. Takes (reader, number), gives back what came of it."""
    if sys.platform != "win32":
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    for stream in (1, 2):  # libraries write about broken files
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream)
    from fsgan_core.contract.errors import FsganError

    warnings.simplefilter("ignore")
    work = Path(folder)
    (work / "seeds").mkdir(exist_ok=True)
    (work / "work").mkdir(exist_ok=True)
    os.chdir(work / "work")
    readers = make_readers(work / "seeds")
    connection.send(tuple(readers))
    while True:
        name, number = connection.recv()
        reader = readers[name]
        path = work / "work" / reader.name
        path.write_bytes(make_input(reader, name, seed, number))
        started = time.perf_counter()
        try:
            reader.read(path)
            outcome, details = "read", ""
        except FsganError as error:
            outcome, details = "refused", "" if str(error) else "an error without a message"
        except BaseException as error:
            outcome, details = "fault", "".join(traceback.format_exception(error))
        connection.send((outcome, details, time.perf_counter() - started))


def run(
    seed: int,
    count: int,
    folder: Path,
    *,
    only: str = "",
    first: int = 0,
    say: Callable[[str], None] = lambda line: None,
) -> Outcome:
    """Reads `count` mutated files, each reader in turn."""
    outcome = Outcome()
    context = multiprocessing.get_context("spawn")

    def start() -> tuple[Any, Connection, tuple[str, ...]]:
        ours, theirs = context.Pipe()
        process = context.Process(target=serve, args=(theirs, seed, str(folder)), daemon=True)
        process.start()
        theirs.close()
        return process, ours, ours.recv()

    process, connection, names = start()
    names = (only,) if only else names
    for step in range(count):
        name, number = names[step % len(names)], first + step // len(names)
        connection.send((name, number))
        try:
            if not connection.poll(INPUT_SECONDS):
                kind, details, seconds = "hang", f"no answer within {INPUT_SECONDS:g} s", INPUT_SECONDS
            else:
                kind, details, seconds = connection.recv()
        except EOFError:
            process.join()
            kind, details, seconds = "crash", f"the process ended with {process.exitcode}", 0.0
        outcome.counts[kind] += 1
        outcome.slowest = max(outcome.slowest, (seconds, name, number))
        if details:
            outcome.findings.append((name, number, f"{kind}: {details}"))
            say(f"{name} {number}: {kind}: {details.strip().splitlines()[-1]}")
        if kind in ("hang", "crash"):
            process.kill()
            process.join()
            process, connection, _ = start()
        if step % 1000 == 999:
            say(f"{step + 1} of {count}: {dict(outcome.counts)}")
    process.kill()
    process.join()
    return outcome


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--only", default="", help="one reader")
    parser.add_argument("--first", type=int, default=0, help="number of the first input")
    options = parser.parse_args(arguments)
    started = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="fsgan-fuzz-") as folder:
        outcome = run(
            options.seed,
            options.count,
            Path(folder),
            only=options.only,
            first=options.first,
            say=lambda line: print(line, flush=True),  # noqa: T201
        )
    for name, number, details in outcome.findings:
        print(f"--- {name} {number}\n{details}")  # noqa: T201
    seconds, name, number = outcome.slowest
    print(  # noqa: T201
        f"seed {options.seed}, {options.count} inputs, {time.perf_counter() - started:.0f} s: "
        f"{dict(outcome.counts)}, {len(outcome.findings)} findings; slowest {seconds:.1f} s ({name} {number})"
    )
    return 1 if outcome.findings else 0


if __name__ == "__main__":
    sys.exit(main())
