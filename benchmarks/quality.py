"""Measure the quality of swaps with each engine over pairs of clips: JSON, Markdown and contact sheets.

    .venv/bin/python benchmarks/quality.py --footage FOLDER --output FOLDER [--pairs tune] [--engines geometric small]
        [--frames 1-60] [--engine NAME=stage.parameter=value,...] [--finetune ITERATIONS]

The footage folder has a pairs.json: {"tune": [...], "validate": [...]}, where each pair has a name, a source clip and a
target clip. Choose settings only on `tune`; `validate` is for reporting. Finished results are kept: the same command
continues where it stopped, and renders again only what changed with the code or the settings. The output folder must be
outside the repository; no footage is published.

Analysis takes longer than swaps. So a source is analysed at no more than --views frames, spread evenly, and a target
at the frames that are measured and AROUND more on either side; --whole analyses whole clips, as `fsgan swap` does.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fsgan_core.clips.inputs import open_input
from fsgan_core.clips.tracks import write_track
from fsgan_core.contract.errors import EngineError, FsganError, WeightsError
from fsgan_core.contract.shot import Clip, Output, Shot, Stages
from fsgan_core.evaluation.charts import write_json, write_plots
from fsgan_core.evaluation.evaluate import evaluate
from fsgan_core.evaluation.metrics import METRICS, nanmean
from fsgan_core.plates.colour import open_config
from fsgan_core.plates.sequence import format_frames, open_clip, parse_frames
from fsgan_core.render.pipeline import render_shot
from fsgan_core.report.contact_sheet import pick_even_frames, read_before_after, write_contact_sheet
from fsgan_core.runtime.atomic import write_atomically
from fsgan_core.runtime.cache import compute_code_digest, compute_digest
from fsgan_core.runtime.events import FAILED, RenderResult

EXTRA_FRAMES = 8
CODE_PACKAGES = ("contract", "faces", "networks", "plates", "render", "stages")

GEOMETRIC = {"reenact.engine": "warp", "mask.engine": "geometric", "inpaint.engine": "fill", "blend.engine": "poisson"}
ENGINES: Mapping[str, Mapping[str, str]] = {
    "geometric": GEOMETRIC,
    "multiband": {**GEOMETRIC, "blend.engine": "multiband"},
    "over": {**GEOMETRIC, "blend.engine": "over"},
    "default": {},  # whatever `auto` takes here
    "small": {**GEOMETRIC, "reenact.engine": "fsgan"},
    "small-mask": {**GEOMETRIC, "mask.engine": "fsgan"},
    "small-inpaint": {**GEOMETRIC, "inpaint.engine": "fsgan"},
    "small-blend": {**GEOMETRIC, "blend.engine": "fsgan"},
    "fsgan": {"reenact.engine": "fsgan", "mask.engine": "fsgan", "inpaint.engine": "fsgan", "blend.engine": "fsgan"},
    "finetuned": {**GEOMETRIC, "reenact.engine": "fsgan"},  # of a copy of the weights, trained on the source first
}
GOALS = {"identity": 0.38, "euler": 1.3, "landmarks": 0.015, "flicker": 0.5, "sharpness_off": 1.4}
"""What the means over pairs have to be at most, all at once."""
SHOWN_FIGURES = (
    "identity",
    "identity_target",
    "ssim",
    "euler",
    "landmarks",
    "flicker",
    "sharpness",
    "sharpness_off",
    "edge",
    "seconds",
)


@dataclass(frozen=True)
class BenchmarkPair:
    """part: "tune" or "validate"."""

    name: str
    part: str
    source: Path
    target: Path


def read_pairs(footage: Path, wanted: Sequence[str]) -> list[BenchmarkPair]:
    """Read the pairs of pairs.json, chosen by part, by name, or "all"."""
    parts = json.loads((footage / "pairs.json").read_text(encoding="utf-8"))
    pairs = [
        BenchmarkPair(one["name"], part, footage / one["source"], footage / one["target"])
        for part in ("tune", "validate")
        for one in parts[part]
    ]
    unknown = set(wanted) - {"all", "tune", "validate"} - {pair.name for pair in pairs}
    if unknown:
        raise SystemExit(f"no such pair: {', '.join(sorted(unknown))}; there are {', '.join(p.name for p in pairs)}")
    return [pair for pair in pairs if "all" in wanted or pair.part in wanted or pair.name in wanted]


def make_tracked_clip(clip: Path, frames: Sequence[int], folder: Path, *, of_target: bool) -> Clip:
    """Analyse some frames of a clip, once for all engines, and return the clip with that track."""
    stages = Stages()
    name = compute_digest("track", str(clip), list(frames), of_target, compute_code_digest(("faces", "plates")))[:12]
    path = folder / f"{clip.stem}.{name}.track.json"
    if not path.is_file():
        write_track(Clip(str(clip)), path, stages, of_target=of_target, frames=format_frames(frames, limit=0))
    return Clip(str(clip), track=str(path))


def make_pair_clips(pair: BenchmarkPair, frames: str, folder: Path, views: int, whole: bool) -> tuple[Clip, Clip]:
    """Return source and target, analysed as this module's docstring says."""
    if whole:
        return Clip(str(pair.source)), Clip(str(pair.target))
    shown = open_clip(Clip(str(pair.source))).frames
    shown = shown[:: max(1, math.ceil(len(shown) / views))]
    measured = parse_frames(frames)
    near = [
        frame
        for frame in open_clip(Clip(str(pair.target))).frames
        if measured[0] - EXTRA_FRAMES <= frame <= measured[-1] + EXTRA_FRAMES
    ]
    return make_tracked_clip(pair.source, shown, folder, of_target=False), make_tracked_clip(
        pair.target, near, folder, of_target=True
    )


def render_engine(shot: Shot, engine: str, arguments: argparse.Namespace) -> RenderResult:
    """Render a shot with an engine; a frame that fails ends the benchmark."""
    if engine == "finetuned":
        from fsgan_core.training.finetune import finetune_shot

        shot = finetune_shot(shot, arguments.finetune, device=arguments.device)
    result = render_shot(shot, device=arguments.device)
    failed = [report for report in result.frames if report.state == FAILED]
    if failed:
        raise FsganError(f"frame {failed[0].frame}: {failed[0].message}")
    return result


def measure_pair(
    pair: BenchmarkPair, engine: str, settings: Mapping[str, str], arguments: argparse.Namespace
) -> dict[str, Any]:
    """Render and measure one pair with one engine, or read the finished result."""
    folder = arguments.output / engine / pair.name
    key = compute_digest(
        "quality",
        compute_code_digest(CODE_PACKAGES),
        dict(settings),
        arguments.frames,
        arguments.views,
        arguments.whole,
        arguments.finetune,
        str(pair.source),
        str(pair.target),
    )
    kept = load_json(folder / "run.json")
    if kept.get("key") == key:
        return kept
    source, target = make_pair_clips(
        pair, arguments.frames, arguments.output / "tracks", arguments.views, arguments.whole
    )
    stages = Stages().with_settings({**settings, "output.layers": "all"})
    result_path = str(folder / "frames" / "swap.####.exr")
    shot = Shot((source,), target, Output(result_path), frames=arguments.frames, stages=stages)
    done = render_engine(shot, engine, arguments)
    older = load_json(folder / "seconds.json")  # a frame that is kept has the time of the run that made it
    seconds = {str(report.frame): sum(report.seconds.values()) for report in done.frames if report.seconds}
    seconds = {**older, **seconds}
    save_json(folder / "seconds.json", seconds)
    found = evaluate(
        source,
        target,
        Clip(result_path),
        arguments.frames,
        seconds={int(frame): value for frame, value in seconds.items()},
    )
    write_json(found, folder / "evaluation.json")
    write_plots(found, folder / "evaluation.png")
    config = open_config()
    shown = read_before_after(
        open_input(target, config), open_input(Clip(result_path), config), pick_even_frames(found.frames), config
    )
    write_contact_sheet(shown, folder / "contact_sheet.png", title=f"{pair.name}, {engine}")
    flags = {flag: len(frames) for flag, frames in done.flagged_frames.items()}
    row = {
        "key": key,
        "pair": pair.name,
        "part": pair.part,
        "engine": engine,
        "engines": dict(done.engines),
        "settings": dict(settings),
        "frames": arguments.frames,
        "means": found.to_dict()["means"],
        "lost": list(found.lost),
        "outside": found.outside_total,
        "flags": flags,
    }
    save_json(folder / "run.json", row)
    return row


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
    figures = [next(figure for figure in METRICS if figure.name == name) for name in SHOWN_FIGURES]
    head = "".join(f" {figure.label}{', ' + figure.unit if figure.unit else ''} |" for figure in figures)
    rule = "|---|" + " ---: |" * len(figures)

    def format_row(name: str, values: Mapping[str, float | None]) -> str:
        cells = [values.get(figure.name) for figure in figures]
        texts = [
            "-" if cell is None or math.isnan(cell) else f"{cell * figure.scale:.{figure.digits}f}"
            for figure, cell in zip(figures, cells, strict=True)
        ]
        return f"| {name} | " + " | ".join(texts) + " |"

    def iterate_parts(of: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, dict[str, float]]]:
        for part in ("tune", "validate"):
            some = [row["means"] for row in of if row["part"] == part]
            if some:
                yield (
                    part,
                    {
                        name: nanmean([math.nan if one.get(name) is None else one[name] for one in some])
                        for name in SHOWN_FIGURES
                    },
                )

    engines = list(dict.fromkeys(row["engine"] for row in rows))
    text = ["## Means over pairs", "", f"| engines, part |{head}", rule]
    for engine in engines:
        own = [row for row in rows if row["engine"] == engine]
        text += [format_row(f"{engine}, {part}", values) for part, values in iterate_parts(own)]
    text += [format_row("wanted at most", GOALS)]
    for engine in engines:
        own = [row for row in rows if row["engine"] == engine]
        text += ["", f"## {engine}", "", f"| pair |{head}", rule]
        for part, values in iterate_parts(own):
            text += [format_row(row["pair"], row["means"]) for row in own if row["part"] == part]
            text += [format_row(f"**mean, {part}**", values)]
        lost = sum(len(row["lost"]) for row in own)
        outside = sum(row["outside"] for row in own)
        text += ["", f"Faces lost: {lost}. Pixels changed outside the matte: {outside}."]
    return "\n".join(text) + "\n"


def choose_engines(arguments: argparse.Namespace) -> dict[str, dict[str, str]]:
    """Return the settings of the chosen engines and of those from --engine, by name."""
    known = {name: dict(settings) for name, settings in ENGINES.items()}
    chosen = list(arguments.engines)
    for text in arguments.engine:
        name, _, settings = text.partition("=")
        known[name] = {**GEOMETRIC, **dict(one.split("=", 1) for one in settings.split(",") if one)}
        chosen.append(name)
    unknown = [name for name in chosen if name not in known]
    if unknown:
        raise SystemExit(f"no such engines: {', '.join(unknown)}; there are {', '.join(known)}")
    return {name: known[name] for name in dict.fromkeys(chosen)}


def main() -> int:
    """Measure all chosen pairs with all chosen engines."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--footage", type=Path, required=True, help="the folder of pairs.json")
    parser.add_argument("--output", type=Path, required=True, help="a folder outside the repository")
    parser.add_argument("--pairs", nargs="+", default=["tune"], help="tune, validate, all, or names of pairs")
    parser.add_argument("--engines", nargs="*", default=["geometric"], help=", ".join(ENGINES))
    parser.add_argument(
        "--engine",
        action="append",
        default=[],
        metavar="NAME=SETTINGS",
        help="another one: the geometric engines with stage.parameter=value,...",
    )
    parser.add_argument("--frames", default="1-60")
    parser.add_argument("--finetune", type=int, default=800, help="iterations of the engines `finetuned`")
    parser.add_argument("--views", type=int, default=150, help="frames of a source that are analysed, at most")
    parser.add_argument("--whole", action="store_true", help="analyse whole clips")
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    rows: list[dict[str, Any]] = []
    failed = False
    for engine, settings in choose_engines(arguments).items():
        for pair in read_pairs(arguments.footage, arguments.pairs):
            started = time.perf_counter()
            try:
                row = measure_pair(pair, engine, settings, arguments)
            except (EngineError, WeightsError) as error:
                print(f"{engine}: left out, {error}", file=sys.stderr)
                break
            except Exception:  # one pair's trouble shall not cost the others
                failed = True
                traceback.print_exc()
                continue
            rows.append(row)
            means = {name: row["means"][name] for name in GOALS}
            print(f"{engine} {pair.name} {time.perf_counter() - started:.0f} s", means, flush=True)
    save_json(arguments.output / "quality.json", rows)
    (arguments.output / "quality.md").write_text(format_markdown(rows), encoding="utf-8")
    print(format_markdown(rows))
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
