"""Measure the quality of swaps over pairs of clips: a table, JSON, contact sheets; and build blind comparisons.

    .venv/bin/python benchmarks/quality.py --footage FOLDER --output FOLDER [--pairs tune hard]
        [--every 12 | --render 15-34] [--engines default small] [--engine NAME=stage.parameter=value,...]
        [--python OTHER/.venv/bin/python]
    .venv/bin/python benchmarks/quality.py --footage FOLDER --output FOLDER --compare OLD NEW

Each pair is a source and a target clip of the footage folder: `tune` and `validate` of its pairs.json, and the harder
ones of HARD_PAIRS. Choose settings only on `tune`; `validate` is for reporting. The first frames (--frames) of both
clips are analysed; of the target, all of them, every n-th (--every) or a range (--render) are rendered. Every pair is
rendered by a process of its own, with the code of --python, so that an older checkout can be measured by today's
figures.

FOLDER/ENGINE/PAIR/ gets the frames, evaluation.json, evaluation.csv, plots and look.png: target, source and result at
full size, a row per frame. The table is in FOLDER/quality.md. Finished pairs are kept, so the same command continues
where it stopped, and renders again only what changed with the code or the settings.

--compare takes two such ENGINE folders and writes pictures and short movies without names, in random order; key.json
says which is which. The output folder must be outside the repository; no footage is published.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from blind_comparison import write_comparison
from look_sheet import crop_view, measure_views, write_look
from quality_table import PARTS, SHOWN_METRICS, format_markdown, to_float

from fsgan_core.clips.inputs import open_input
from fsgan_core.contract.errors import FsganError
from fsgan_core.contract.shot import Clip
from fsgan_core.evaluation.charts import write_csv, write_json, write_plots
from fsgan_core.evaluation.evaluate import evaluate
from fsgan_core.plates.colour import open_config
from fsgan_core.plates.sequence import format_frames, open_clip, parse_frames
from fsgan_core.report.contact_sheet import read_before_after
from fsgan_core.runtime.atomic import write_atomically
from fsgan_core.runtime.cache import compute_digest

HARD_PAIRS = (
    ("lp_d12", "latentsync_1"),
    ("lp_d0", "retalk_1"),
    ("mimictalk_1", "lp_d13"),
    ("grid_pwij3p", "lp_d9"),
    ("retalk_3", "lp_s20"),
    ("lp_d6", "edtalk_pose1"),
    ("latentsync_3", "lp_d0"),
    ("asl_eat", "grid_lwbsza"),
)
"""Source and target of the harder pairs."""

ENGINES: Mapping[str, Mapping[str, str]] = {
    "default": {},
    "multiband": {"blend.engine": "multiband"},
    "over": {"blend.engine": "over"},
    "small": {"reenact.engine": "fsgan"},
    "small-mask": {"mask.engine": "fsgan"},
    "small-inpaint": {"inpaint.engine": "fsgan"},
    "small-blend": {"blend.engine": "fsgan"},
    "fsgan": {"reenact.engine": "fsgan", "mask.engine": "fsgan", "inpaint.engine": "fsgan", "blend.engine": "fsgan"},
    "finetuned": {"reenact.engine": "fsgan"},  # with a copy of the weights that is first trained on the source
}
FLICKER_METRICS = ("flicker", "flicker_target", "flicker_result")
SETTINGS_OF_RENDER = {"output.layers": "all"}

_DIGEST_SCRIPT = """
from fsgan_core.runtime.cache import compute_code_digest
print(compute_code_digest(("contract", "faces", "networks", "plates", "render", "stages")))
"""


@dataclass(frozen=True)
class BenchmarkPair:
    """part: one of PARTS."""

    name: str
    part: str
    source: Path
    target: Path


@dataclass(frozen=True)
class Renderer:
    """The program that renders, perhaps of another checkout."""

    python: Path
    device: str
    digest: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "digest", self._run("-c", _DIGEST_SCRIPT).strip())

    def call(self, *arguments: str, log: Path | None = None) -> str:
        """Run a command of `fsgan` and return what it prints; its log goes to a file."""
        return self._run("-m", "fsgan_core.cli", *arguments, log=log)

    def _run(self, *arguments: str, log: Path | None = None) -> str:
        done = subprocess.run([str(self.python), *arguments], capture_output=True, text=True, check=False, cwd="/")
        if log is not None:
            log.write_text(done.stderr, encoding="utf-8")
        if done.returncode:
            raise FsganError(f"{' '.join(arguments[:3])} ended with {done.returncode}: {done.stderr[-800:]}")
        return done.stdout


def read_pairs(footage: Path, wanted: Sequence[str]) -> list[BenchmarkPair]:
    """Read the pairs, chosen by part, by name, or "all"."""
    parts = json.loads((footage / "pairs.json").read_text(encoding="utf-8"))
    pairs = [
        BenchmarkPair(one["name"], part, footage / one["source"], footage / one["target"])
        for part in ("tune", "validate")
        for one in parts[part]
    ]
    clips = footage / "clips"
    pairs += [
        BenchmarkPair(f"{source}__{target}", "hard", clips / f"{source}.mp4", clips / f"{target}.mp4")
        for source, target in HARD_PAIRS
    ]
    unknown = set(wanted) - {"all", *PARTS} - {pair.name for pair in pairs}
    if unknown:
        raise SystemExit(f"no such pair: {', '.join(sorted(unknown))}; there are {', '.join(p.name for p in pairs)}")
    return [pair for pair in pairs if {"all", pair.part, pair.name} & set(wanted)]


def choose_frames(frames: str, every: int, rendered: str = "") -> tuple[int, ...]:
    """Choose the frames to render: `rendered`, else with `every` 12 the 6th, the 18th, the 30th ... of `frames`."""
    if rendered:
        return tuple(parse_frames(rendered))
    numbers = parse_frames(frames)
    return tuple(numbers[every // 2 - 1 :: every] if every > 1 else numbers)


# Rendering and measuring a pair.


def render_pair(
    pair: BenchmarkPair,
    engine: str,
    settings: Mapping[str, str],
    frames: Sequence[int],
    renderer: Renderer,
    arguments: argparse.Namespace,
) -> Path:
    """Render a pair by the command line and return its folder."""
    folder: Path = arguments.output / engine / pair.name
    (folder / "frames").mkdir(parents=True, exist_ok=True)
    tracks = [
        track_clip(clip, kind, arguments.frames, arguments.output / "tracks", renderer)
        for clip, kind in ((pair.source, "source"), (pair.target, "target"))
    ]
    command = ["swap", "--source", str(pair.source), "--source-track", str(tracks[0])]
    command += ["--target", str(pair.target), "--target-track", str(tracks[1])]
    command += ["--frames", format_frames(frames, limit=0), "--output", str(folder / "frames" / "swap.####.exr")]
    for name, value in {**settings, **SETTINGS_OF_RENDER}.items():
        command += ["--set", f"{name}={value}"]
    if engine == "finetuned":
        command += ["--finetune", str(arguments.finetune)]
    said = renderer.call(*command, "--device", renderer.device, "--json", log=folder / "swap.log")
    (folder / "swap.json").write_text(said, encoding="utf-8")
    return folder


def track_clip(clip: Path, kind: str, frames: str, folder: Path, renderer: Renderer) -> Path:
    """Analyse frames of a clip, once for all engines and pairs, and return the track file."""
    available = open_clip(Clip(str(clip))).frames
    wanted = [frame for frame in parse_frames(frames) if frame in set(available)]
    text = format_frames(wanted, limit=0)
    name = compute_digest("track", str(clip), text, kind, renderer.digest)[:12]
    path = folder / f"{clip.stem}.{kind}.{name}.track.json"
    if not path.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        renderer.call("analyse", f"--{kind}", str(clip), "--frames", text, "--output", str(path), "--quiet")
    return path


def measure_pair(
    pair: BenchmarkPair, engine: str, settings: Mapping[str, str], renderer: Renderer, arguments: argparse.Namespace
) -> dict[str, Any]:
    """Render and measure one pair with one engine, or read the finished result."""
    frames = choose_frames(arguments.frames, arguments.every, arguments.render)
    folder = arguments.output / engine / pair.name
    key = compute_digest(
        "quality 2",
        "" if arguments.measure_only else renderer.digest,
        _read_code(),
        dict(settings),
        list(frames),
        arguments.frames,
        arguments.finetune,
        str(pair.source),
        str(pair.target),
    )
    kept = load_json(folder / "run.json")
    if kept.get("key") == key and not arguments.measure_only:
        return kept
    if not arguments.measure_only:
        render_pair(pair, engine, settings, frames, renderer, arguments)
    done = load_json(folder / "swap.json")
    result = Clip(str(folder / "frames" / "swap.####.exr"))
    found = evaluate(
        Clip(str(pair.source)),
        Clip(str(pair.target)),
        result,
        format_frames(frames, limit=0),
        seconds=read_seconds(folder, done),
    )
    if arguments.every > 1 and not arguments.render:  # differences between frames that lie far apart say nothing
        blank = np.full(len(frames), np.nan)
        found = replace(found, metrics={**found.metrics, **dict.fromkeys(FLICKER_METRICS, blank)})
    write_json(found, folder / "evaluation.json")
    write_csv(found, folder / "evaluation.csv")
    write_plots(found, folder / "evaluation.png")
    write_look(pair.source, pair.target, found, folder / "look.png", open_config(), parse_frames(arguments.frames))
    row = {
        "key": key,
        "pair": pair.name,
        "part": pair.part,
        "engine": engine,
        "engines": done.get("engines", {}),
        "settings": dict(settings),
        "frames": format_frames(frames, limit=0),
        "means": found.to_dict()["means"],
        "verdict": found.verdict,
        "verdicts": found.verdicts,
        "lost": list(found.lost),
        "outside": found.outside_total,
        "flags": done.get("flags", {}),
    }
    save_json(folder / "run.json", row)
    return row


def _read_code() -> str:
    """The text of what measures, for keys."""
    folder = Path(__file__).parents[1] / "fsgan_core"
    files = [*sorted((folder / "evaluation").glob("*.py")), folder / "faces" / "measure.py"]
    return compute_digest(*(file.read_text(encoding="utf-8") for file in files))


def read_seconds(folder: Path, done: Mapping[str, Any]) -> dict[int, float]:
    """Read the seconds of each frame; a frame that was kept has the time of the run that made it."""
    known = load_json(folder / "seconds.json")
    known |= {
        str(frame["frame"]): sum(frame["seconds"].values())
        for frame in done.get("frames", ())
        if frame.get("seconds") and frame.get("state") == "rendered"
    }
    save_json(folder / "seconds.json", known)
    return {int(frame): value for frame, value in known.items()}


def load_json(path: Path) -> dict[str, Any]:
    """Load a JSON object; an empty one if the file is missing or broken."""
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return {}


def save_json(path: Path, data: Any) -> None:
    """Save data as JSON."""
    with write_atomically(path) as temporary:
        temporary.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")


def choose_engines(arguments: argparse.Namespace) -> dict[str, dict[str, str]]:
    """Return the settings of the chosen engines and of those from --engine, by name."""
    known = {name: dict(settings) for name, settings in ENGINES.items()}
    chosen = list(arguments.engines)
    for text in arguments.engine:
        name, _, settings = text.partition("=")
        known[name] = dict(one.split("=", 1) for one in settings.split(",") if one)
        chosen.append(name)
    unknown = [name for name in chosen if name not in known]
    if unknown:
        raise SystemExit(f"no such engines: {', '.join(unknown)}; there are {', '.join(known)}")
    return {name: known[name] for name in dict.fromkeys(chosen)}


def measure_all(arguments: argparse.Namespace) -> int:
    """Measure all chosen pairs with all chosen engines, and write the table after each."""
    renderer = Renderer(arguments.python, arguments.device)
    rows: list[dict[str, Any]] = []
    failed = False
    for engine, settings in choose_engines(arguments).items():
        for pair in read_pairs(arguments.footage, arguments.pairs):
            started = time.perf_counter()
            try:
                row = measure_pair(pair, engine, settings, renderer, arguments)
            except Exception:  # one pair's trouble shall not cost the others
                failed = True
                traceback.print_exc()
                continue
            rows.append(row)
            shown = {name: round(to_float(row["means"].get(name)), 3) for name in SHOWN_METRICS}
            print(f"{engine} {pair.name} {time.perf_counter() - started:.0f} s", row["verdict"], shown, flush=True)
            save_json(arguments.output / "quality.json", rows)
            (arguments.output / "quality.md").write_text(format_markdown(rows), encoding="utf-8")
    print(format_markdown(rows))
    return 1 if failed else 0


def compare_folders(arguments: argparse.Namespace) -> int:
    """Build the blind comparison of two engine folders."""
    old, new = arguments.compare
    config = open_config()

    def read(pair: BenchmarkPair, folder: Path) -> Callable[[Sequence[int]], list[Any]]:
        target = open_input(Clip(str(pair.target)), config)
        result = open_input(Clip(str(folder / pair.name / "frames" / "swap.####.exr")), config)
        return lambda frames: list(read_before_after(target, result, frames, config))

    count = 0
    for pair in read_pairs(arguments.footage, arguments.pairs):
        sequences = [sorted((folder / pair.name / "frames").glob("swap.*.exr")) for folder in (old, new)]
        numbers = [{int(file.name.split(".")[1]) for file in files} for files in sequences]
        common = sorted(numbers[0] & numbers[1])
        if not common:
            print(f"{pair.name}: no frame in both folders", file=sys.stderr)
            continue
        source = open_input(Clip(str(pair.source)), config)
        views = list(measure_views(pair.source, parse_frames(arguments.frames), config))
        person = crop_view(source, views[len(views) // 2], config, 400) if views else None
        write_comparison(arguments.output, pair.name, common, read(pair, old), read(pair, new), person)
        count += 1
    print(f"{count} pairs are in {arguments.output / 'judge'}; the key is {arguments.output / 'key.json'}")
    return 0 if count else 1


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--footage", type=Path, required=True, help="the folder of pairs.json")
    parser.add_argument("--output", type=Path, required=True, help="a folder outside the repository")
    parser.add_argument("--pairs", nargs="+", default=["tune"], help="tune, validate, hard, all, or names of pairs")
    parser.add_argument("--engines", nargs="*", default=["default"], help=", ".join(ENGINES))
    parser.add_argument(
        "--engine",
        action="append",
        default=[],
        metavar="NAME=SETTINGS",
        help="another one: the default engines with stage.parameter=value,...",
    )
    parser.add_argument("--frames", default="1-48", help="frames of source and target that are analysed")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="render and measure every N-th frame")
    parser.add_argument("--render", default="", metavar="FRAMES", help="render and measure these frames, as in 15-34")
    parser.add_argument("--finetune", type=int, default=800, help="iterations of the engines `finetuned`")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--python", type=Path, default=Path(sys.executable), help="the interpreter that renders")
    parser.add_argument("--measure-only", action="store_true", help="measure frames that are already rendered")
    parser.add_argument("--compare", type=Path, nargs=2, metavar=("OLD", "NEW"), help="build a blind comparison")
    arguments = parser.parse_args()
    arguments.output = arguments.output.resolve()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    return compare_folders(arguments) if arguments.compare else measure_all(arguments)


if __name__ == "__main__":
    raise SystemExit(main())
