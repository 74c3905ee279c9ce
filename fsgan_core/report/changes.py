"""What changed since the last report of a shot, and the pictures that show it.

Beside report.json, which has the figures, a report keeps a few pictures of faces in PICTURES_FILE. The next report of
the same shot compares itself with both. A report of the same pictures keeps what its predecessor compared with.
"""

from __future__ import annotations

import base64
import binascii
import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fsgan_core.contract.layers import META_KEY, META_PARTS
from fsgan_core.contract.plain_data import parse_json
from fsgan_core.evaluation.metric_limits import METRICS
from fsgan_core.report.data import REPORT_FORMAT, Fact, Figure, ReportChanges, ReportFrame, SettingChange
from fsgan_core.report.figures import NETWORK_FIGURES, PANELS
from fsgan_core.report.player_frames import PlayerFrame
from fsgan_core.runtime.atomic import write_atomically
from fsgan_core.runtime.cache import compute_digest
from fsgan_core.runtime.sampling import sample_evenly
from fsgan_core.runtime.text_files import read_text_file

__all__ = ["DATA_FILE", "PICTURES_FILE", "LastReport", "PicturePair", "compare_reports", "read_last_report"]

DATA_FILE = "report.json"
PICTURES_FILE = "report_pictures.json"
COMPARED_FRAMES = 6
KEY_DIGITS = 16
MAX_PICTURE_BYTES = 1 << 20
"""Bytes of a stored picture, at most; a larger one is not from a report."""
SMALL_SHARE = 0.02
"""Share of a mean by which it must differ to be listed."""

_JPEG_START = b"\xff\xd8\xff"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PicturePair:
    """A frame's face in the last report and in this one, as JPEG."""

    frame: int
    before: bytes
    after: bytes


@dataclass(frozen=True)
class LastReport:
    """What is known of the last report in a folder.

    Attributes:
        data: Its report.json; empty if there was none.
        pictures: Frame -> face, as JPEG.
        earlier: The pictures that it compared with.
    """

    data: Mapping[str, Any]
    pictures: Mapping[int, bytes]
    earlier: Mapping[int, bytes]

    def find_known_figures(self, frames: Iterable[ReportFrame]) -> dict[int, dict[str, float]]:
        """Finds what networks measured on frames that are still the same picture: frame -> values by name."""
        keys = {one["number"]: (place, one["key"]) for place, one in enumerate(self.data.get("frames", ()))}
        columns = {one["name"]: one["values"] for one in self.data.get("figures", ())}
        found: dict[int, dict[str, float]] = {}
        for frame in frames:
            place, key = keys.get(frame.number, (0, ""))
            if not key or key != frame.key:
                continue
            values = {name: columns[name][place] for name in NETWORK_FIGURES if name in columns}
            if any(value is not None for value in values.values()):
                found[frame.number] = {
                    name: float("nan") if value is None else float(value) for name, value in values.items()
                }
        return found


NO_REPORT = LastReport({}, {}, {})


def read_last_report(folder: Path, output: str) -> LastReport:
    """Reads the report that is in a folder.

    Args:
        folder: Where it would be.
        output: Pattern of the result's files; a report on other files does not count.

    Returns:
        What is there; empty if there is none, or it cannot be read.
    """
    try:
        data = parse_json(read_text_file(folder / DATA_FILE))
        if data["format"] != REPORT_FORMAT or not is_same_output(data["output"], output):
            return NO_REPORT
        _check_data(data)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        if not isinstance(error, FileNotFoundError):
            log.warning("the last report in %s is not compared with: %s", folder, error)
        return NO_REPORT
    try:
        stored = parse_json(read_text_file(folder / PICTURES_FILE))
        return LastReport(data, _decode_pictures(stored["now"]), _decode_pictures(stored["earlier"]))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return LastReport(data, {}, {})


def compute_picture_key(metadata: Mapping[str, Any]) -> str:
    """Computes a key of what a frame shows.

    The frame's own key also changes with the performer's release, which is in the metadata only.
    """
    shown = [part for part in str(metadata.get(META_PARTS, "")).split() if not part.startswith("consent.")]
    return (compute_digest(shown) if shown else str(metadata.get(META_KEY, "")))[:KEY_DIGITS]


def is_same_output(one: str, other: str) -> bool:
    """Tells whether two patterns name the same files; a relative one counts from the current folder."""
    return Path(one).absolute() == Path(other).absolute()


def _check_data(data: Mapping[str, Any]) -> None:
    """Raises ValueError, KeyError, TypeError or AttributeError if it is not what a report writes."""
    count = len(data["frames"])
    for frame in data["frames"]:
        if not isinstance(frame["number"], int) or not isinstance(frame["key"], str):
            raise ValueError("a frame has no number or key")
    for figure in data["figures"]:
        values = [*figure["values"], figure["mean"]]
        if len(values) != count + 1 or not all(value is None or isinstance(value, (int, float)) for value in values):
            raise ValueError("a figure has no value for each frame")
    for name in ("settings", "weights", "surroundings", "engines"):
        data[name].items()
    if not isinstance(data["made"], str):
        raise ValueError("it has no date")


def _decode_pictures(stored: Mapping[str, str]) -> dict[int, bytes]:
    found = {}
    for number, text in stored.items():
        try:
            picture = base64.b64decode(text, validate=True)
        except binascii.Error:
            continue
        if picture.startswith(_JPEG_START) and len(picture) <= MAX_PICTURE_BYTES:
            found[int(number)] = picture
    return found


def compare_reports(
    last: LastReport,
    frames: Sequence[ReportFrame],
    figures: Sequence[Figure],
    facts: Iterable[Fact],
    engines: Mapping[str, str],
    player: Sequence[PlayerFrame],
) -> tuple[ReportChanges | None, list[PicturePair], dict[str, Any]]:
    """Compares a report with the last one of the shot.

    Args:
        last: The last report.
        frames: Frames of this one.
        figures: Figures of this one.
        facts: Settings, weights and versions of this one.
        engines: Stage -> engine.
        player: Pictures of this one.

    Returns:
        What changed (None if there is nothing to compare with), faces side by side, and what to write to PICTURES_FILE.
    """
    now = {one.number: one.parts["after"] for one in _pick_faces(player)}
    shown = {one.number: one.parts["after"] for one in player if "after" in one.parts}
    if not last.data:
        return None, [], _encode_pictures(now, {})
    keys = {frame["number"]: frame["key"] for frame in last.data["frames"]}
    changed = tuple(frame.number for frame in frames if frame.key and keys.get(frame.number) != frame.key)
    if not changed and len(keys) == len(frames):
        pairs = [PicturePair(number, last.earlier[number], shown[number]) for number in last.earlier if number in shown]
        return _restore_changes(last.data.get("changes")), pairs, _encode_pictures(now, last.earlier)
    pairs = [
        PicturePair(number, last.pictures[number], shown[number])
        for number in last.pictures
        if number in shown and number in changed
    ]
    changes = ReportChanges(
        last.data["made"],
        tuple(_compare_facts(last.data, facts, engines)),
        _compare_means(last.data, [frame.number for frame in frames], figures),
        changed,
    )
    return changes, pairs, _encode_pictures(now, last.pictures)


def _pick_faces(player: Sequence[PlayerFrame]) -> list[PlayerFrame]:
    with_faces = [frame for frame in player if "after" in frame.parts]
    return [with_faces[place] for place in sample_evenly(len(with_faces), COMPARED_FRAMES)]


def _encode_pictures(now: Mapping[int, bytes], earlier: Mapping[int, bytes]) -> dict[str, Any]:
    return {
        name: {str(number): base64.b64encode(picture).decode("ascii") for number, picture in pictures.items()}
        for name, pictures in (("now", now), ("earlier", earlier))
    }


def write_last_pictures(stored: Mapping[str, Any], path: Path) -> Path:
    """Writes the faces that the next report compares with, and returns the path. Raises OutputError."""
    with write_atomically(path) as temporary:
        temporary.write_text(json.dumps(stored) + "\n", encoding="utf-8")
    return path


def _restore_changes(data: Any) -> ReportChanges | None:
    """The changes that the last report listed; None if it listed none."""
    try:
        return ReportChanges(
            str(data["since"]),
            tuple(SettingChange(**one) for one in data["settings"]),
            tuple(SettingChange(**one) for one in data["figures"]),
            tuple(int(frame) for frame in data["frames"]),
        )
    except (KeyError, TypeError, ValueError):
        return None


def _compare_facts(
    data: Mapping[str, Any], facts: Iterable[Fact], engines: Mapping[str, str]
) -> Iterable[SettingChange]:
    earlier = {
        name: str(value) for part in ("settings", "weights", "surroundings") for name, value in data[part].items()
    }
    earlier |= {f"{stage} engine": str(name) for stage, name in data["engines"].items()}
    now = {fact.label: fact.value for fact in facts} | {f"{stage} engine": name for stage, name in engines.items()}
    for label in dict.fromkeys([*now, *earlier]):
        if earlier.get(label) != now.get(label):
            absent = "default" if "." in label else "-"
            yield SettingChange(label, earlier.get(label, absent), now.get(label, absent))


def _compare_means(
    data: Mapping[str, Any], numbers: Sequence[int], figures: Sequence[Figure]
) -> tuple[SettingChange, ...]:
    """Compares the means over the frames that both reports measured."""
    earlier_places = {frame["number"]: place for place, frame in enumerate(data["frames"])}
    columns = {one["name"]: one["values"] for one in data["figures"]}
    shown = {figure for panel in PANELS for figure in panel.figures}
    limited = {metric.name for metric in METRICS if metric.better}
    found = []
    for figure in figures:
        column = columns.get(figure.name)
        if column is None or figure.name not in shown:
            continue
        pairs = [
            (earlier, value)
            for number, value in zip(numbers, figure.values, strict=True)
            if number in earlier_places
            and (earlier := column[earlier_places[number]]) is not None
            and value is not None
        ]
        if not pairs:
            continue
        before, after = (sum(side) / len(pairs) for side in zip(*pairs, strict=True))
        if figure.format(before) == figure.format(after) or abs(after - before) < SMALL_SHARE * abs(before):
            continue
        is_better = None
        if figure.name in limited:
            is_better = (after > before) == (figure.better == "high")
        found.append(SettingChange(figure.label, figure.format(before), figure.format(after), is_better))
    return tuple(found)
