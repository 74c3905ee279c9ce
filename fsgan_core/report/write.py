"""Writes the files of `--report`: contact sheet, preview movie, page, and the result as JSON."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterable
from pathlib import Path

from fsgan_core.clips.inputs import open_input
from fsgan_core.contract.errors import InputError
from fsgan_core.contract.plain_data import parse_json
from fsgan_core.contract.shot import Clip, Shot
from fsgan_core.plates.colour import open_config
from fsgan_core.report.contact_sheet import (
    BeforeAfter,
    pick_even_frames,
    read_before_after,
    write_contact_sheet,
    write_preview_movie,
)
from fsgan_core.report.page import make_render_page, write_page
from fsgan_core.runtime.atomic import make_folder, write_atomically
from fsgan_core.runtime.events import FAILED, Event, EventListener, RenderResult, ignore_event
from fsgan_core.runtime.text_files import read_text_file

__all__ = ["read_frame_seconds", "write_report"]

RESULT_FILE = "result.json"
DEFAULT_FPS = 24.0
"""Frames per second of the preview of a target that is not a movie."""

log = logging.getLogger(__name__)


def write_report(folder: Path, shot: Shot, result: RenderResult, on_event: EventListener = ignore_event) -> list[Path]:
    """Writes the report of a render into a folder; a render without a frame to show gets no pictures.

    Returns:
        The files that were written, the page first.

    Raises:
        OutputError: A file cannot be written.
        PlateError: The result cannot be read back.
    """
    start = time.perf_counter()
    make_folder(folder)
    frames = [report.frame for report in result.frames if report.state != FAILED]
    pictures: dict[str, Path] = {}
    movies: dict[str, Path] = {}
    if frames:
        config = open_config(shot.stages.colour.config)
        target = open_input(shot.target, config, shot.stages.output.missing, shot.stages.output.interlaced)
        rendered = open_input(Clip(result.output, result.colorspace), config)

        def report_progress(shown: Iterable[BeforeAfter]) -> Iterable[BeforeAfter]:
            for done, look in enumerate(shown, start=1):
                yield look
                on_event(Event("report", "preview", done, len(frames)))

        title = f"{Path(result.output).name}, {len(frames)} frames"
        pictures["contact sheet"] = write_contact_sheet(
            read_before_after(target, rendered, pick_even_frames(frames), config),
            folder / "contact_sheet.png",
            title=title,
        )
        movies["preview"] = write_preview_movie(
            report_progress(read_before_after(target, rendered, frames, config)),
            folder / "preview.mp4",
            fps=target.sequence.fps or DEFAULT_FPS,
        )
    seconds = {"report": time.perf_counter() - start}
    page = make_render_page(result, shot, pictures=pictures, movies=movies, seconds=seconds)
    written = [write_page(page, folder / "summary.html"), write_page(page, folder / "summary.md")]
    with write_atomically(folder / RESULT_FILE) as temporary:
        temporary.write_text(json.dumps(result.to_dict(), indent=1) + "\n", encoding="utf-8")
    log.info("report in %s, %.1f s", folder, seconds["report"])
    return [*written, folder / RESULT_FILE, *pictures.values(), *movies.values()]


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
        raise InputError(
            f"the render's report {path} cannot be read ({error.strerror}); give the folder that --report "
            "wrote, or the result.json in it"
        ) from error
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
        raise InputError(f"{path} is not the result of a render; give the result.json that --report wrote") from error
