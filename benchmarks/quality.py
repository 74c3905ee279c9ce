"""Measure the quality of swaps over pairs of clips: a table, JSON, contact sheets; and build blind comparisons.

    .venv/bin/python benchmarks/quality.py --footage FOLDER --output FOLDER [--pairs tune hard] [--every 12]
        [--engines default small] [--engine NAME=stage.parameter=value,...] [--python OTHER/.venv/bin/python]
    .venv/bin/python benchmarks/quality.py --footage FOLDER --output FOLDER --compare OLD NEW

Each pair is a source and a target clip of the footage folder: `tune` and `validate` of its pairs.json, and the harder
ones of HARD_PAIRS. Choose settings only on `tune`; `validate` is for reporting. The first frames (--frames) of both
clips are analysed; of the target, all of them or every n-th (--every) are rendered. Every pair is rendered by a process
of its own, with the code of --python, so that an older checkout can be measured by today's figures.

FOLDER/ENGINE/PAIR/ gets the frames, evaluation.json, evaluation.csv, plots and look.png: target, source and result at
full size, a row per frame. The table is in FOLDER/quality.md. Finished pairs are kept, so the same command continues
where it stopped, and renders again only what changed with the code or the settings.

--compare takes two such ENGINE folders and writes pictures and short movies without names, in random order; key.json
says which is which. The output folder must be outside the repository; no footage is published.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from blind_comparison import crop_square, write_comparison

from fsgan_core.clips.inputs import open_input
from fsgan_core.contract.errors import FsganError
from fsgan_core.contract.shot import Clip
from fsgan_core.evaluation.charts import write_csv, write_json, write_plots
from fsgan_core.evaluation.evaluate import evaluate
from fsgan_core.evaluation.evaluation import Evaluation
from fsgan_core.evaluation.metric_limits import METRICS
from fsgan_core.evaluation.metrics import nanmean
from fsgan_core.evaluation.source_faces import measure_source_face
from fsgan_core.evaluation.verdicts import find_worst_verdict, judge_value
from fsgan_core.faces.measure import MeasuredFace
from fsgan_core.plates.colour import ColourConfig, open_config
from fsgan_core.plates.sequence import format_frames, open_clip, parse_frames
from fsgan_core.report.contact_sheet import draw_text, make_canvas, read_before_after, write_png
from fsgan_core.runtime.arrays import Image8
from fsgan_core.runtime.atomic import write_atomically
from fsgan_core.runtime.cache import compute_digest, get_cache_folder
from fsgan_core.runtime.sampling import sample_evenly

PARTS = ("tune", "validate", "hard")
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
SHOWN_METRICS = (
    *("identity", "gaze", "lids", "lips", "light", "tone", "landmarks", "landmarks_dlib"),
    *("euler", "flicker", "sharpness_off", "edge", "seconds"),
)
FLICKER_METRICS = ("flicker", "flicker_target", "flicker_result")
SHOWN_VIEWS = 8  # frames of the source from which the one next to the result is chosen
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


def choose_frames(frames: str, every: int) -> tuple[int, ...]:
    """Choose the frames to render: with `every` 12, the 6th, the 18th, the 30th ... of `frames`."""
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
    frames = choose_frames(arguments.frames, arguments.every)
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
    if arguments.every > 1:  # differences between frames that lie far apart say nothing
        blank = np.full(len(frames), np.nan)
        found = replace(found, metrics={**found.metrics, **dict.fromkeys(FLICKER_METRICS, blank)})
    write_json(found, folder / "evaluation.json")
    write_csv(found, folder / "evaluation.csv")
    write_plots(found, folder / "evaluation.png")
    write_look(pair, found, folder / "look.png", open_config(), parse_frames(arguments.frames))
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


# Pictures.


def write_look(
    pair: BenchmarkPair, found: Evaluation, path: Path, config: ColourConfig, source_frames: Sequence[int]
) -> None:
    """Write a PNG with a row for each of up to eight frames: target, source, result, around the face at full size."""
    target, source = (open_input(Clip(str(clip)), config) for clip in (pair.target, pair.source))
    result = open_input(Clip(found.result), config)
    views = list(_measure_views(pair, source_frames, config))
    rows = []
    picked = [found.frames[index] for index in sample_evenly(len(found.frames), 8)]
    for look in read_before_after(target, result, picked, config):
        if look.face_box is None:
            continue
        x, y, width, height = look.face_box
        centre, side = (x + width / 2, y + height / 2), max(width, height) * 1.5
        pictures = [crop_square(look.before, centre, side), crop_square(look.after, centre, side)]
        if views:
            yaw = found.metrics["target_yaw"][found.frames.index(look.number)]
            view = min(views, key=lambda one: abs(one[1].euler[0] - yaw) if not math.isnan(yaw) else 0.0)
            pictures.insert(1, _crop_view(source, view, config, pictures[0].shape[0]))
        row = np.concatenate(pictures, axis=1)
        band = make_canvas(24, row.shape[1])
        verdicts = {name: value for name, value in _describe_frame(found, look.number).items() if value}
        text = ", ".join(f"{name} {value}" for name, value in verdicts.items())
        draw_text(band, f"{look.number}: {text or 'pass'}", (6, 17), 0.45)
        rows += [band, row]
    if not rows:
        return
    width = max(row.shape[1] for row in rows)
    padded = [np.concatenate([row, make_canvas(row.shape[0], width - row.shape[1])], axis=1) for row in rows]
    write_png(path, np.concatenate(padded))


def _describe_frame(found: Evaluation, frame: int) -> dict[str, str]:
    """The figures of a frame that do not pass, as text, by label."""
    place = found.frames.index(frame)
    values = {metric: float(found.metrics[metric.name][place]) for metric in METRICS}
    return {
        metric.label: f"{value * metric.scale:.{metric.digits}f} {metric.unit}".strip()
        for metric, value in values.items()
        if judge_value(metric, value) in ("look", "fail")
    }


def _measure_views(
    pair: BenchmarkPair, frames: Sequence[int], config: ColourConfig
) -> Iterable[tuple[int, MeasuredFace]]:
    source = open_input(Clip(str(pair.source)), config)
    available = [frame for frame in frames if frame in set(source.sequence.frames)]
    for index in sample_evenly(len(available), SHOWN_VIEWS):
        face = measure_source_face(source, available[index], config, get_cache_folder() / "measured")
        if face is not None:
            yield available[index], face


def _crop_view(source: Any, view: tuple[int, MeasuredFace], config: ColourConfig, side: int) -> Image8:
    """The source's face, as large as the target's."""
    frame, face = view
    look = next(iter(read_before_after(source, source, [frame], config)))
    low, high = face.mesh[:, :2].min(axis=0), face.mesh[:, :2].max(axis=0)
    crop = crop_square(look.before, tuple((low + high) / 2), float((high - low).max()) * 1.4)
    return np.asarray(cv2.resize(crop, (side, side), interpolation=cv2.INTER_AREA), np.uint8)


# The table.


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


def format_markdown(rows: Sequence[Mapping[str, Any]]) -> str:
    """Format a table of the engines' means, then one of the pairs for each engine."""
    metrics = [next(metric for metric in METRICS if metric.name == name) for name in SHOWN_METRICS]
    head = "".join(f" {metric.label}{', ' + metric.unit if metric.unit else ''} |" for metric in metrics)
    rule = "|---|" + " ---: |" * len(metrics) + "---|"

    def format_row(name: str, values: Mapping[str, float | None], verdict: str = "") -> str:
        cells = [values.get(metric.name) for metric in metrics]
        texts = [
            "-" if cell is None or math.isnan(cell) else f"{cell * metric.scale:.{metric.digits}f}"
            for metric, cell in zip(metrics, cells, strict=True)
        ]
        return f"| {name} | " + " | ".join(texts) + f" | {verdict} |"

    def format_mean(name: str, some: Sequence[Mapping[str, Any]]) -> list[str]:
        if not some:
            return []
        means = {metric.name: nanmean([_to_float(row["means"].get(metric.name)) for row in some]) for metric in METRICS}
        verdict = find_worst_verdict(judge_value(metric, means[metric.name]) for metric in METRICS)
        return [format_row(f"{name} ({len(some)})", means, verdict)]

    text = ["## Means over pairs", "", f"| engines, pairs |{head} verdict |", rule]
    engines = list(dict.fromkeys(row["engine"] for row in rows))
    for engine in engines:
        own = [row for row in rows if row["engine"] == engine]
        text += format_mean(f"**{engine}, all**", own)
        for part in PARTS:
            text += format_mean(f"{engine}, {part}", [row for row in own if row["part"] == part])
    text += [format_row("at most", {metric.name: metric.limit for metric in metrics if metric.limit is not None})]
    for engine in engines:
        own = [row for row in rows if row["engine"] == engine]
        text += ["", f"## {engine}", "", f"| pair |{head} verdict |", rule]
        for part in PARTS:
            some = [row for row in own if row["part"] == part]
            text += [format_row(row["pair"].replace("__", " > "), row["means"], row["verdict"]) for row in some]
            text += format_mean(f"**mean, {part}**", some)
        lost = sum(len(row["lost"]) for row in own)
        outside = sum(row["outside"] for row in own)
        text += ["", f"Faces lost: {lost}. Pixels changed outside the matte: {outside}."]
    return "\n".join(text) + "\n"


def _to_float(value: float | None) -> float:
    return math.nan if value is None else value


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
            shown = {name: round(_to_float(row["means"].get(name)), 3) for name in SHOWN_METRICS}
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
        views = list(_measure_views(pair, parse_frames(arguments.frames), config))
        person = _crop_view(source, views[len(views) // 2], config, 400) if views else None
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
