"""The page of a report: one HTML file that needs nothing else, with a player, plots and tables."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup, escape

from fsgan_core.contract.safe_text import escape_line
from fsgan_core.contract.version import __version__
from fsgan_core.evaluation.verdicts import FAIL, LOOK, PASS, find_worst_verdict
from fsgan_core.plates.sequence import format_frames
from fsgan_core.report.changes import PicturePair
from fsgan_core.report.data import Fact, ReportData
from fsgan_core.report.looks import FACE_MARGIN
from fsgan_core.report.page import SYNTHETIC_NOTICE
from fsgan_core.report.player_frames import DIFFERENCE_FACTOR, PlayerFrame
from fsgan_core.report.plots import make_plots
from fsgan_core.report.source_pictures import SourcePictures
from fsgan_core.runtime.atomic import write_atomically
from fsgan_core.runtime.events import FAILED, KEPT, PASSED, RENDERED

__all__ = ["PlayerFacts", "format_report_page", "write_report_page"]

TEMPLATES = Path(__file__).parent / "templates"
MAX_FACE_VIEW = (1200, 900)
"""Width and height of the player at 100 %, at most, in pixels."""

_VERDICT_TEXTS = {
    FAIL: "beyond limits",
    LOOK: "needs a look",
    PASS: "within all limits",
    "": "not measured",
}


@dataclass(frozen=True)
class _View:
    """A picture that the player can show."""

    name: str
    label: str
    title: str
    key: int = 0


_VIEWS = (
    _View("after", "After", "The result"),
    _View("before", "Before", "The target"),
    _View("wipe", "Wipe", "Left of the line before, right of it after"),
    _View("matte", "Matte", "The result with the matte over it"),
    _View("difference", "Difference", "Difference between before and after, amplified"),
    _View("reenacted", "Reenacted", "The source's face in the target's pose, before it is completed and blended"),
    _View("completed", "Completed", "The completed face, before it is blended"),
    _View("mattes", "Mattes", "Mattes of face, hair, mouth and what covers the face"),
)


_CHANGED_VIEW = _View("matte", "Changed pixels", "The result, with the pixels that changed in red")
"""In place of the matte, if it was not written."""


@dataclass(frozen=True)
class PlayerFacts:
    """What the player must know beside its pictures.

    Attributes:
        size: Width and height of the plate, in square pixels.
        fps: Frames per second.
        has_matte: Whether the matte is the one that was mixed with.
        notes: What the player leaves out, in words.
    """

    size: tuple[int, int]
    fps: float
    has_matte: bool
    notes: tuple[str, ...] = ()


def format_report_page(
    data: ReportData,
    player: Sequence[PlayerFrame] = (),
    facts: PlayerFacts | None = None,
    source: SourcePictures | None = None,
    pairs: Sequence[PicturePair] = (),
    neighbours: Sequence[str] = (),
) -> str:
    """Formats the page of a report.

    Args:
        data: What the report says.
        player: Pictures of the player, in order.
        facts: What the player must know; needed if it has pictures.
        source: Atlas and views of the source.
        pairs: Faces of the last report beside those of this one.
        neighbours: Names of the files beside the page that it links to.
    """
    style, script = _read_template("report.css"), _read_template("report.js")
    has_names = {name for frame in player for name in frame.parts}
    views = [view for view in _VIEWS if view.name in ("after", "before", "wipe") or view.name in has_names]
    if facts and not facts.has_matte:
        views = [_CHANGED_VIEW if view.name == _CHANGED_VIEW.name else view for view in views]
    views = [_View(view.name, view.label, view.title, key) for key, view in enumerate(views, start=1)]
    flagged = sorted({number for remark in data.remarks for number in remark.frames})
    verdict = find_worst_verdict(frame.verdict for frame in data.frames)
    if any(frame.state == FAILED for frame in data.frames):
        verdict = FAIL
    return (
        _load_environment()
        .get_template("report.html.j2")
        .render(
            data=data,
            player=player,
            player_notes=facts.notes if facts else (),
            views=views,
            flagged=set(flagged),
            verdict=verdict or "none",
            verdict_text=_VERDICT_TEXTS[verdict],
            headline=_describe_frames(data, flagged),
            notice=SYNTHETIC_NOTICE,
            plots=make_plots(data) if data.frames else [],
            source=source or SourcePictures(),
            pairs=pairs,
            neighbours=neighbours,
            changed_frames=format_frames(data.changes.frames) if data.changes else "",
            engines=[Fact(stage, engine) for stage, engine in data.engines.items()],
            version=__version__,
            style=Markup(style),
            script=Markup(script),
            style_hash=_hash_inline(style),
            script_hash=_hash_inline(script),
            script_data=_encode_script_data(_collect_script_data(player, facts, views, flagged)),
            uri=_make_uri,
        )
    )


def write_report_page(
    path: Path,
    data: ReportData,
    player: Sequence[PlayerFrame] = (),
    facts: PlayerFacts | None = None,
    source: SourcePictures | None = None,
    pairs: Sequence[PicturePair] = (),
    neighbours: Sequence[str] = (),
) -> Path:
    """Writes the page of a report and returns its path; arguments as for `format_report_page`.

    Raises:
        OutputError: The file cannot be written.
    """
    text = format_report_page(data, player, facts, source, pairs, neighbours)
    with write_atomically(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return path


def _describe_frames(data: ReportData, flagged: Sequence[int]) -> str:
    """One sentence on what was rendered and what needs a look."""
    names = {RENDERED: "rendered", KEPT: "kept from an earlier render", PASSED: "without a face", FAILED: "failed"}
    counts = {name: sum(frame.state == state for frame in data.frames) for state, name in names.items()}
    text = f"{len(data.frames)} frames: " + ", ".join(f"{count} {name}" for name, count in counts.items() if count)
    return text + (f". {len(flagged)} to look at." if flagged else ".")


def _collect_script_data(
    player: Sequence[PlayerFrame], facts: PlayerFacts | None, views: Sequence[_View], flagged: Sequence[int]
) -> dict[str, Any]:
    if facts is None or not player:
        return {}
    shown = {frame.number for frame in player}
    return {
        "frames": [
            {
                "number": frame.number,
                "whole": _encode(frame.whole),
                "window": frame.window,
                "face": frame.face,
                "zoom": round(frame.zoom, 4),
                "parts": {name: _encode(part) for name, part in frame.parts.items()},
            }
            for frame in player
        ],
        "size": facts.size,
        "fps": facts.fps,
        "face_view": _choose_face_view(player, facts.size),
        "views": [view.name for view in views],
        "labels": {view.name: view.label for view in views},
        "difference_factor": DIFFERENCE_FACTOR,
        "flagged": [number for number in flagged if number in shown],
        "matte_text": "Red: the matte that was mixed with."
        if facts.has_matte
        else "Red: pixels that changed; the matte itself was not written (render with all layers).",
    }


def _choose_face_view(player: Sequence[PlayerFrame], size: tuple[int, int]) -> tuple[int, int]:
    """Size of the player at 100 %: it holds the largest face, and does not change from frame to frame."""
    sides = [max(frame.face[2] * size[0], frame.face[3] * size[1]) for frame in player if frame.face]
    side = round(max(sides, default=min(size)) * FACE_MARGIN)
    return min(side, MAX_FACE_VIEW[0], size[0]), min(side, MAX_FACE_VIEW[1], size[1])


def _encode_script_data(data: Mapping[str, Any]) -> Markup:
    """JSON that cannot end its script element, whatever texts it holds."""
    text = json.dumps(data, allow_nan=False, separators=(",", ":"))
    return Markup(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))


def _encode(picture: bytes) -> str:
    return base64.b64encode(picture).decode("ascii")


def _make_uri(picture: bytes) -> Markup:
    return Markup(f"data:image/jpeg;base64,{_encode(picture)}")


def _hash_inline(text: str) -> str:
    """The digest by which the page's own policy allows a style or script, and nothing else."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")


def _read_template(name: str) -> str:
    return (TEMPLATES / name).read_text("utf-8")


def _mark_code(text: str) -> Markup:
    """Words between backticks as code, all else escaped."""
    parts = [escape(escape_line(part)) for part in text.split("`")]
    pieces = [Markup("<code>{}</code>").format(part) if place % 2 else part for place, part in enumerate(parts)]
    return Markup("").join(pieces)


def _finish_value(value: Any) -> Any:
    return escape_line(value) if isinstance(value, str) and not isinstance(value, Markup) else value


@lru_cache(maxsize=1)
def _load_environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        finalize=_finish_value,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["code"] = _mark_code
    return environment
