"""Writes the files of `--report` and `fsgan report`: page, figures, contact sheet, preview movie, result as JSON."""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

from fsgan_core.clips.inputs import JobInputs, open_input, open_inputs
from fsgan_core.contract import layers
from fsgan_core.contract.consent import describe_consent
from fsgan_core.contract.errors import InputError, PlateError
from fsgan_core.contract.plain_data import parse_json
from fsgan_core.contract.shot import Clip, Shot
from fsgan_core.faces.face import Face
from fsgan_core.plates.image_reader import read_frame_metadata
from fsgan_core.plates.sequence import format_frames
from fsgan_core.plates.signing_identity import SigningIdentity, open_signing_identity
from fsgan_core.plates.synthetic_mark import DIGITAL_SOURCE_TYPE, read_xmp, read_xmp_fields
from fsgan_core.render import source_checks
from fsgan_core.render.context import NO_FACE
from fsgan_core.render.frame_list import write_frame_list
from fsgan_core.render.provenance import holds_synthesised_pixels, read_flags
from fsgan_core.render.scene import JobScenes
from fsgan_core.report import facts
from fsgan_core.report.changes import (
    DATA_FILE,
    PICTURES_FILE,
    LastReport,
    PicturePair,
    compare_reports,
    compute_picture_key,
    read_last_report,
    write_last_pictures,
)
from fsgan_core.report.contact_sheet import (
    BeforeAfter,
    pick_even_frames,
    write_contact_sheet,
    write_preview_movie,
)
from fsgan_core.report.data import Fact, ReportData, ReportFrame, write_report_csv, write_report_json
from fsgan_core.report.figures import NETWORK_FIGURES, PICTURE_FIGURES, judge_frame, make_figures
from fsgan_core.report.kept_looks import KeptLooks
from fsgan_core.report.looks import FrameLook, LookMaker, LookReader, compute_look_margin
from fsgan_core.report.measure import (
    BUDGET_SHARE,
    FaceFigures,
    find_tracked_faces,
    measure_faces,
    measure_looks,
    order_frames,
)
from fsgan_core.report.page import make_render_page, write_page
from fsgan_core.report.player_frames import MAX_PLAYER_FRAMES, PlayerFrame, PlayerFrames, pick_player_frames
from fsgan_core.report.player_page import PlayerFacts, write_report_page
from fsgan_core.report.remarks import make_remarks
from fsgan_core.report.source_pictures import SourcePictures, make_source_pictures
from fsgan_core.runtime.atomic import make_folder, write_atomically
from fsgan_core.runtime.events import FAILED, RENDERED, Event, EventListener, RenderResult, ignore_event
from fsgan_core.runtime.text_files import read_text_file
from fsgan_core.runtime.threads import limit_algebra_threads
from fsgan_core.runtime.user_paths import is_plain_file

__all__ = ["MEASURE_MODES", "Report", "make_report", "read_frame_seconds", "write_report"]

PAGE_FILE, MARKDOWN_FILE = "summary.html", "summary.md"
RESULT_FILE, TABLE_FILE = "result.json", "report.csv"
CHECK_STEP = "check"
"""Step of a render that looks whether a frame is up to date."""
SHEET_FILE, MOVIE_FILE = "contact_sheet.jpg", "preview.mp4"
FORMER_SHEET_FILE = "contact_sheet.png"
"""Name of the contact sheet in reports of earlier versions."""
DEFAULT_FPS = 24.0
"""Frames per second of the preview of a target that is not a movie."""
SOURCE_SECONDS = 2.0
"""Estimated time that atlas and view map take."""

MEASURE_ALL, MEASURE_SOME, MEASURE_NONE = "all", "sampled", "none"
MEASURE_MODES = (MEASURE_ALL, MEASURE_SOME, MEASURE_NONE)
"""What networks measure: every frame; as many as a twentieth of the render's time allows; none."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Report:
    """A written report.

    Attributes:
        data: What it says.
        files: The files that were written, the page first.
    """

    data: ReportData
    files: tuple[Path, ...]


@dataclass
class _Findings:
    """What was read and measured of the frames."""

    player: list[PlayerFrame] = field(default_factory=list)
    player_facts: PlayerFacts | None = None
    rows: dict[int, dict[str, float]] = field(default_factory=dict)
    metadata: dict[int, Mapping[str, Any]] = field(default_factory=dict)
    faces: FaceFigures = field(default_factory=FaceFigures)
    source: SourcePictures = field(default_factory=SourcePictures)
    left_out: str = ""
    inputs: JobInputs | None = None
    pictures: dict[str, Path] = field(default_factory=dict)
    movies: dict[str, Path] = field(default_factory=dict)
    is_synthetic: bool = True


def write_report(
    folder: Path,
    shot: Shot,
    result: RenderResult,
    on_event: EventListener = ignore_event,
    kept: KeptLooks | None = None,
) -> list[Path]:
    """Writes the report of a render into a folder; a render without a frame to show gets no pictures.

    Networks measure as many frames as a twentieth of the render's time allows. `kept` holds what the render kept of
    its frames.

    Returns:
        The files that were written, the page first.

    Raises:
        OutputError: A file cannot be written.
        PlateError: The result cannot be read back.
    """
    return list(make_report(folder, shot, result, on_event=on_event, kept=kept).files)


def make_report(
    folder: Path,
    shot: Shot,
    result: RenderResult,
    *,
    measure: str = MEASURE_SOME,
    on_event: EventListener = ignore_event,
    kept: KeptLooks | None = None,
) -> Report:
    """Makes the report of a render and writes it into a folder.

    Args:
        folder: Where the files go.
        shot: The shot.
        result: What its render returned.
        measure: One of MEASURE_MODES.
        on_event: Called with the progress.
        kept: What the render kept of its frames; others are read from their files.

    Raises:
        OutputError: A file cannot be written.
        PlateError: The result cannot be read back.
        SigningError: The studio signs, but its certificate or key does not work.
    """
    start = time.perf_counter()
    identity = open_signing_identity()
    make_folder(folder)
    last = read_last_report(folder, result.output)
    frames = [report.frame for report in result.frames if report.state != FAILED]
    paths = [Path(report.path) for report in result.frames if report.state != FAILED]
    is_synthetic = any(holds_synthesised_pixels(read_frame_metadata(path)) for path in paths)
    findings = _Findings(is_synthetic=is_synthetic)
    if frames:
        with limit_algebra_threads(), _mute_source_warnings():
            _examine_frames(findings, folder, shot, result, frames, last, measure, start, on_event, kept or KeptLooks())
    data, pairs, stored = _assemble(shot, result, findings, last, measure, time.perf_counter() - start)
    neighbours = [DATA_FILE, TABLE_FILE, *(path.name for path in _list_pictures(findings))]
    page = write_report_page(
        folder / PAGE_FILE, data, findings.player, findings.player_facts, findings.source, pairs, neighbours
    )
    remarks = [remark.reason for remark in data.remarks if data.find_figure(remark.name)]
    short = make_render_page(
        result,
        shot,
        pictures=findings.pictures,
        movies=findings.movies,
        remarks=remarks,
        measured=data.measured,
        is_synthetic=is_synthetic,
    )
    written = [
        page,
        write_page(short, folder / MARKDOWN_FILE),
        write_report_json(data, folder / DATA_FILE),
        write_report_csv(data, folder / TABLE_FILE),
        write_last_pictures(stored, folder / PICTURES_FILE),
    ]
    with write_atomically(folder / RESULT_FILE) as temporary:
        temporary.write_text(json.dumps(result.to_dict(), indent=1) + "\n", encoding="utf-8")
    if last.data and findings.pictures:
        _remove_former_sheet(folder / FORMER_SHEET_FILE)
    log.info("report in %s, %.1f s", folder, time.perf_counter() - start)
    signed = () if identity is None else _sign_frames(shot, result, identity)
    files = (*written, folder / RESULT_FILE, *_list_pictures(findings), *signed)
    return Report(data, files)


def _remove_former_sheet(path: Path) -> None:
    """Removes the contact sheet of an earlier version's report: it would show other pictures than this one.

    Only a file that carries the mark of our pictures is ours.
    """
    try:
        if is_plain_file(path) and read_xmp_fields(read_xmp(path)).get("digital source type") == DIGITAL_SOURCE_TYPE:
            path.unlink()
    except (OSError, PlateError) as error:
        log.warning("the contact sheet %s of an earlier report stays: %s", path, error)


def _sign_frames(shot: Shot, result: RenderResult, identity: SigningIdentity) -> tuple[Path, ...]:
    frames = [Path(report.path) for report in result.frames if report.state != FAILED]
    return write_frame_list(result.output, frames, identity, _list_clip_names(shot)) if frames else ()


def _list_clip_names(shot: Shot) -> tuple[str, ...]:
    return tuple(Path(clip.path).name for clip in (shot.target, *shot.source))


def _list_pictures(findings: _Findings) -> list[Path]:
    return [*findings.pictures.values(), *findings.movies.values()]


@contextmanager
def _mute_source_warnings() -> Iterator[None]:
    """The render has said already what is wrong with the source."""
    logger = logging.getLogger(source_checks.__name__)
    was_disabled, logger.disabled = logger.disabled, True
    try:
        yield
    finally:
        logger.disabled = was_disabled


def _examine_frames(
    findings: _Findings,
    folder: Path,
    shot: Shot,
    result: RenderResult,
    frames: list[int],
    last: LastReport,
    measure: str,
    start: float,
    on_event: EventListener,
    kept: KeptLooks,
) -> None:
    """Reads every frame once, for the player, the preview movie and the figures; then measures faces."""
    inputs = _open_shot(shot, result.device)
    findings.inputs = inputs
    rendered = open_input(Clip(result.output, result.colorspace), inputs.config)
    maker = LookMaker(inputs.config, inputs.target.space, compute_look_margin(inputs, shot.job))
    reader = LookReader(inputs.target, rendered, maker, lambda frame: kept.take(frame, result.output))
    scenes = JobScenes(inputs, "swap", with_views=False)
    tracked = find_tracked_faces(inputs, scenes, frames)
    budget = math.inf
    if measure == MEASURE_SOME and result.list_frames(RENDERED):
        budget = BUDGET_SHARE * result.seconds.get("total", 0.0) - kept.seconds
    consent = describe_consent(shot.stages.consent)
    collector = PlayerFrames(pick_player_frames(frames), consent=consent, is_synthetic=findings.is_synthetic)
    step = min((after - before for before, after in pairwise(frames)), default=1)
    looks = measure_looks(collector.pass_looks(reader.iterate(frames)), tracked, findings.rows, step)
    sheet: dict[int, BeforeAfter | None] = dict.fromkeys(pick_even_frames(frames))
    fps = inputs.target.sequence.fps or DEFAULT_FPS
    findings.movies["preview"] = write_preview_movie(
        _watch_looks(looks, findings.metadata, sheet, len(frames), on_event),
        folder / MOVIE_FILE,
        fps=fps,
        is_synthetic=findings.is_synthetic,
        made_from=_list_clip_names(shot),
        consent=consent,
    )
    findings.player = collector.finish()
    findings.player_facts = PlayerFacts(
        collector.size, fps, collector.has_matte, _describe_player(findings.player, frames)
    )
    findings.pictures["contact sheet"] = write_contact_sheet(
        (look for look in sheet.values() if look is not None),
        folder / SHEET_FILE,
        title=f"{Path(result.output).name}, {len(frames)} frames",
        is_synthetic=findings.is_synthetic,
        made_from=_list_clip_names(shot),
        consent=consent,
    )
    if time.perf_counter() - start + SOURCE_SECONDS < budget:
        findings.source = make_source_pictures(
            inputs, scenes, shot, format_frames(frames, limit=0), planned=measure == MEASURE_ALL
        )
    else:
        findings.left_out = "Atlas and view map are left out to save time; `fsgan report` shows them."
    if measure == MEASURE_NONE:
        return
    known: dict[int, dict[str, float]] = {}
    if measure == MEASURE_SOME or last.data.get("measured_fully"):
        known = last.find_known_figures(_list_frames(result, findings.metadata))
    flagged = [report.frame for report in result.frames if report.flags and report.frame in tracked]
    wanted = order_frames([frame for frame in frames if _has_face(frame, tracked, findings.metadata)], flagged[:4])
    remaining = None
    if measure == MEASURE_SOME:
        remaining = BUDGET_SHARE * result.seconds.get("total", 0.0) - kept.seconds - (time.perf_counter() - start)
    findings.faces = measure_faces(inputs, reader, wanted, tracked, known=known, budget=remaining, on_event=on_event)


def _open_shot(shot: Shot, device: str) -> JobInputs:
    """Opens the clips of a shot; without its sources if they are not there, as for a node that does not name them."""
    keywords: dict[str, Any] = {
        "holdout": shot.holdout,
        "output_colorspace": shot.output.colorspace,
        "device": device,
    }
    try:
        return open_inputs(shot.source, shot.target, shot.stages, **keywords)
    except PlateError as error:
        inputs = open_inputs((), shot.target, shot.stages, **keywords)
        log.info("the report says nothing about the source: %s", error)
        return inputs


def _watch_looks(
    looks: Iterator[FrameLook],
    metadata: dict[int, Mapping[str, Any]],
    sheet: dict[int, BeforeAfter | None],
    count: int,
    on_event: EventListener,
) -> Iterator[BeforeAfter]:
    """The frames for the preview movie; keeps their metadata and those of the contact sheet, reports the progress."""
    for done, look in enumerate(looks, start=1):
        metadata[look.number] = look.metadata
        on_event(Event("report", "preview", done, count))
        shown = BeforeAfter(look.number, look.before, look.after)
        if look.number in sheet:
            parts = None if look.window is None else (look.square(look.part_before), look.square(look.part_after))
            flags = str(look.metadata.get(layers.META_FLAGS, ""))
            sheet[look.number] = BeforeAfter(look.number, look.before, look.after, look.box_in_part, flags, parts)
        yield shown


def _has_face(frame: int, tracked: Mapping[int, Face], metadata: Mapping[int, Mapping[str, Any]]) -> bool:
    return frame in tracked or bool(metadata.get(frame, {}).get(layers.META_FACE))


def _describe_player(player: Sequence[PlayerFrame], frames: Sequence[int]) -> tuple[str, ...]:
    if len(player) == len(frames):
        return ()
    reason = f"at most {MAX_PLAYER_FRAMES} frames" if len(frames) > MAX_PLAYER_FRAMES else "at most 60 MB"
    return (f"The player shows {len(player)} of {len(frames)} frames, evenly spread, because a page has {reason}.",)


def _list_frames(result: RenderResult, metadata: Mapping[int, Mapping[str, Any]]) -> list[ReportFrame]:
    return [
        ReportFrame(
            report.frame,
            report.state,
            report.flags,
            report.message,
            key=compute_picture_key(metadata.get(report.frame, {})),
        )
        for report in result.frames
    ]


def _assemble(
    shot: Shot, result: RenderResult, findings: _Findings, last: LastReport, measure: str, spent: float
) -> tuple[ReportData, list[PicturePair], dict[str, Any]]:
    """The report's data, the faces side by side with the last report's, and what the next report compares with."""
    frames = _list_frames(result, findings.metadata)
    nothing: dict[str, float] = {}
    columns = {
        name: [rows.get(frame.number, nothing).get(name, math.nan) for frame in frames]
        for names, rows in (
            (NETWORK_FIGURES, findings.faces.rows),
            (PICTURE_FIGURES, findings.rows),
        )
        for name in names
    }
    # A frame that was kept has the time of its check only, which must not be compared with the time of a render.
    seconds = [{} if report.seconds.keys() <= {CHECK_STEP} else report.seconds for report in result.frames]
    figures = make_figures(len(frames), columns, seconds, is_drive=shot.job == "drive")
    judged = tuple(
        ReportFrame(frame.number, frame.state, frame.flags, frame.message, judge_frame(figures, place), frame.key)
        for place, frame in enumerate(frames)
    )
    settings = facts.list_settings(shot)
    weights = facts.list_weights(findings.metadata.values())
    surroundings = facts.list_surroundings(result, findings.inputs)
    changes, pairs, stored = compare_reports(
        last, judged, figures, (*settings, *weights, *surroundings), result.engines, findings.player
    )
    data = ReportData(
        title=f"{result.command.capitalize()}: {Path(result.output).name}",
        command=result.command,
        made=datetime.now().astimezone().isoformat(" ", "seconds"),
        output=result.output,
        frames=judged,
        figures=figures,
        remarks=make_remarks(judged, figures, findings.rows),
        summary=facts.list_summary(result, shot, findings.metadata.values()),
        settings=settings,
        weights=weights,
        surroundings=surroundings,
        times=(*facts.list_times(result, {"report": spent}), *_describe_share(result, spent)),
        engines=dict(result.engines),
        notes=(
            *(note for note in result.notes if not _repeats_flag(note, result)),
            *([findings.left_out] if findings.left_out else []),
        ),
        measured=tuple(_describe_measuring(findings, len(frames), measure)),
        measured_fully=measure == MEASURE_ALL and not findings.faces.problem,
        changes=changes,
    )
    return data, pairs, stored


def _describe_share(result: RenderResult, spent: float) -> tuple[Fact, ...]:
    total = result.seconds.get("total", 0.0)
    return (Fact("report, share of the render", f"{100 * spent / total:.1f} %"),) if total > 0 else ()


def _repeats_flag(note: str, result: RenderResult) -> bool:
    """Whether a note of the render says what the list of remarks says about a flag."""
    return any(note.startswith(f"{flag} in ") for flag in result.flagged_frames)


def _describe_measuring(findings: _Findings, count: int, measure: str) -> Iterator[str]:
    faces = findings.faces
    measured = len(faces.rows)
    if faces.problem:
        yield f"Identity, gaze, lids, lips, landmarks and pose were not measured: {faces.problem}"
    elif measure == MEASURE_NONE:
        yield "Identity, gaze, lids, lips, landmarks and pose were not measured, as asked."
    elif measured == 0 and count:
        yield (
            "Identity, gaze, lids, lips, landmarks and pose need networks and were not measured, so that the report "
            "costs a twentieth of the render; `fsgan report` measures them."
        )
    elif measured < count:
        yield (
            f"Identity, gaze, lids, lips, landmarks and pose need networks and were measured on {measured} of {count} "
            "frames, so that the report costs a twentieth of the render; `fsgan report` measures all."
        )
    if findings.inputs is not None and not findings.inputs.sources:
        yield "The distance to the source is not measured, because the source is not known here."
    if faces.source_frames:
        yield f"Identity is the distance to the nearest of {faces.source_frames} source frames."
    if not any(math.isfinite(row.get("light", math.nan)) for row in findings.rows.values()) and count:
        what = "Light, skin tone, flicker, sharpness and edge"
        if findings.metadata and all(NO_FACE in read_flags(metadata) for metadata in findings.metadata.values()):
            yield f"{what} were not measured: no face of the target was found in these frames."
        else:
            yield (
                f"{what} need the target's track, which is not in the cache of this machine and version. A render of "
                "the shot puts it there."
            )


def read_frame_seconds(path: Path) -> dict[int, float]:
    """Reads how long each frame took to render, by frame number.

    The time covers all stages and reading, but not analysis and waiting. Frames that were only kept have none.

    Args:
        path: The result.json of a render's report, or its folder.

    Raises:
        InputError: There is no such file, or it is not a render's.
    """
    path = path / RESULT_FILE if path.is_dir() else path
    try:
        frames = parse_json(read_text_file(path))["frames"]
        return {int(one["frame"]): float(sum(one["seconds"].values())) for one in frames if one.get("seconds")}
    except OSError as error:
        text = f"the render's report {path} cannot be read ({error.strerror})"
        raise InputError(f"{text}; give the folder that --report wrote, or the result.json in it") from error
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
        raise InputError(f"{path} is not the result of a render; give the result.json that --report wrote") from error
