"""The folder that `--report` writes: contact sheet, preview movie, a page on what was done, and the result as JSON."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterable
from pathlib import Path

from fsgan_core.clips.inputs import open_input
from fsgan_core.contract.errors import InputError
from fsgan_core.contract.shot import Clip, Shot
from fsgan_core.plates.colour import open_config
from fsgan_core.report.contact_sheet import Look, contact_sheet, looks, picked, preview_movie
from fsgan_core.report.page import summary, write_page
from fsgan_core.runtime.atomic import atomic_file, make_folder
from fsgan_core.runtime.events import FAILED, Event, Listener, RenderResult, ignore

__all__ = ["frame_seconds", "write_report"]

RESULT = "result.json"

log = logging.getLogger(__name__)


def write_report(folder: Path, shot: Shot, result: RenderResult, listen: Listener = ignore) -> list[Path]:
    """Writes the report of a render; the files, the page first. A render without a frame to show gets no pictures.

    Raises OutputError, and PlateError when the result cannot be read back.
    """
    start = time.perf_counter()
    make_folder(folder)
    frames = [report.frame for report in result.frames if report.state != FAILED]
    pictures: dict[str, Path] = {}
    movies: dict[str, Path] = {}
    if frames:
        config = open_config(shot.stages.colour.config)
        target = open_input(shot.target, config, shot.stages.output.missing)
        rendered = open_input(Clip(result.output, result.colorspace), config)

        def told(shown: Iterable[Look]) -> Iterable[Look]:
            for done, look in enumerate(shown, start=1):
                yield look
                listen(Event("report", "preview", done, len(frames)))

        title = f"{Path(result.output).name}, {len(frames)} frames"
        pictures["contact sheet"] = contact_sheet(looks(target, rendered, picked(frames), config),
                                                  folder / "contact_sheet.png", title=title)
        movies["preview"] = preview_movie(told(looks(target, rendered, frames, config)), folder / "preview.mp4",
                                          fps=target.sequence.fps or 24.0)
    seconds = {"report": time.perf_counter() - start}
    page = summary(result, shot, pictures=pictures, movies=movies, seconds=seconds)
    written = [write_page(page, folder / "summary.html"), write_page(page, folder / "summary.md")]
    with atomic_file(folder / RESULT) as temporary:
        temporary.write_text(json.dumps(result.to_dict(), indent=1) + "\n", encoding="utf-8")
    log.info("report in %s, %.1f s", folder, seconds["report"])
    return [*written, folder / RESULT, *pictures.values(), *movies.values()]


def frame_seconds(path: Path) -> dict[int, float]:
    """What each frame took, by number, from the result.json of a render's report (or its folder): all stages together,
    reading included, analysis and waiting not. Frames that were only kept have none.

    Raises InputError when there is no such file, or it is not a render's.
    """
    path = path / RESULT if path.is_dir() else path
    try:
        frames = json.loads(path.read_text(encoding="utf-8"))["frames"]
        return {int(one["frame"]): float(sum(one["seconds"].values())) for one in frames if one.get("seconds")}
    except OSError as error:
        raise InputError(f"the render's report {path} cannot be read ({error.strerror}); give the folder that --report "
                         "wrote, or the result.json in it") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path} is no result of a render; give the result.json that --report wrote") from error
