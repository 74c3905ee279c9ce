"""The short page on a render, as Markdown."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fsgan_core.contract.errors import OutputError
from fsgan_core.contract.shot import Clip, Output, Shot, Stages
from fsgan_core.evaluation.evaluation import Evaluation
from fsgan_core.evaluation.metric_limits import EXTRA_METRIC_NAMES, METRIC_NAMES
from fsgan_core.report.page import format_markdown, make_render_page, write_page
from fsgan_core.runtime.events import FAILED, KEPT, PASSED, RENDERED, FrameReport, RenderResult


@pytest.fixture
def result() -> RenderResult:
    frames = (
        FrameReport(1001, RENDERED, "out/swap.1001.exr", flags=("pose-clamped",)),
        FrameReport(1002, RENDERED, "out/swap.1002.exr"),
        FrameReport(1003, PASSED, "out/swap.1003.exr", flags=("no-face",)),
        FrameReport(1004, FAILED, "out/swap.1004.exr", message="truncated <file> | here"),
    )
    return RenderResult(
        "swap",
        "out/swap.####.exr",
        "ACEScg",
        frames,
        {"reenact": 3.0, "write": 1.0, "total": 5.0},
        {"reenact": "mesh", "blend": "poisson"},
        notes=("no face in 1003",),
    )


@pytest.fixture
def shot() -> Shot:
    return Shot(
        (Clip("anna.mov"),),
        Clip("plate.####.exr"),
        Output("out/swap.####.exr"),
        stages=Stages().with_settings({"blend.engine": "multiband", "reenact.views": "1,2"}),
    )


class TestSummary:
    def test_says_what_was_done(self, result: RenderResult, shot: Shot) -> None:
        text = format_markdown(make_render_page(result, shot, seconds={"report": 2.5}))
        for expected in (
            "# Swap: swap.####.exr",
            "| source | anna.mov |",
            "| target | plate.####.exr |",
            "1001-1004 (4)",
            "| rendered | 2 |",
            "| without a face, passed through | 1 |",
            "ACEScg",
            "| reenact engine | mesh |",
            "| reenact | 3.00 | 1.500 |",
            "| report | 2.50 |  |",
            "| total | 5.00 | 2.500 |",
            "- pose-clamped: 1001",
            "- no face in 1003",
            "frame 1004 failed",
            "| blend.engine | multiband |",
            "| reenact.views | 1, 2 |",
            "synthesised face pixels",
        ):
            assert expected in text, expected

    def test_no_column_per_rendered_frame_if_none_was_rendered(self, result: RenderResult) -> None:
        """All were kept, or `fsgan report` reads what an earlier render wrote: nothing to divide by."""
        kept = tuple(replace(one, state=KEPT) for one in result.frames)
        text = format_markdown(make_render_page(replace(result, frames=kept), seconds={"report": 2.5}))
        assert "| stage | seconds |\n" in text and "| reenact | 3.00 |\n" in text and "| total | 5.00 |\n" in text
        assert "per rendered frame" not in text

    def test_the_notice_follows_the_frames(self, result: RenderResult) -> None:
        text = format_markdown(make_render_page(result, is_synthetic=False))
        assert "No frame of the result holds synthesised face pixels" in text and "- The result holds" not in text

    def test_without_shot(self, result: RenderResult) -> None:
        assert "Settings" not in format_markdown(make_render_page(result))

    def test_default_settings(self, result: RenderResult) -> None:
        plain = Shot((Clip("anna.mov"),), Clip("plate.exr"), Output("out.exr"))
        assert "- none" in format_markdown(make_render_page(result, plain))

    def test_nothing_flagged(self) -> None:
        clean = RenderResult("swap", "o.####.exr", "ACEScg", (FrameReport(1, RENDERED, "o.0001.exr"),), {}, {})
        assert "nothing was flagged" in format_markdown(make_render_page(clean))

    def test_a_flag_is_listed_once(self, result: RenderResult) -> None:
        note = "pose-clamped in 1001: the head turns further than any source view"
        text = format_markdown(make_render_page(replace(result, notes=(note,))))
        assert "pose-clamped in 1001" in text and "- pose-clamped: 1001" not in text and "- no-face: 1003" in text

    def test_figures_of_an_evaluation(self, result: RenderResult) -> None:
        values = {name: np.array([0.021, np.nan]) for name in (*METRIC_NAMES, *EXTRA_METRIC_NAMES)}
        values["flicker"] = np.array([np.nan, np.nan])
        found = Evaluation(("s",), "t", "r", (1, 2), values, 1, "matte.soft", True, notes=("a remark",))
        text = format_markdown(make_render_page(result, evaluation=found))
        assert "| landmarks | 2.10 | % |" in text and "| flicker | - |" in text and "- a remark" in text


class TestPages:
    def test_markdown_links_and_bars(self, result: RenderResult, tmp_path: Path) -> None:
        page = make_render_page(
            result, pictures={"contact sheet": tmp_path / "sheet.png"}, movies={"preview": tmp_path / "p.mp4"}
        )
        text = format_markdown(page, tmp_path)
        assert "![contact sheet](<sheet.png>)" in text and "[preview](<p.mp4>)" in text
        rows = [line for line in text.splitlines() if line.startswith("| ")]
        assert all(row.endswith(" |") for row in rows)

    def test_written(self, result: RenderResult, tmp_path: Path) -> None:
        assert write_page(make_render_page(result), tmp_path / "s.md").read_text().startswith("# Swap")

    def test_folder_that_cannot_be_written(self, result: RenderResult, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        with pytest.raises(OutputError):
            write_page(make_render_page(result), tmp_path / "file" / "s.md")


def test_text_from_files_is_shown_as_it_is(result: RenderResult) -> None:
    """Names and messages bring neither HTML nor a link nor a line of their own into the page."""
    evil = "<img src=x onerror=y> [a](javascript:z) `b` | c\n# d\x1b[2J & e"
    frames = (FrameReport(1004, FAILED, "x.exr", message=evil),)
    page = make_render_page(replace(result, frames=frames, notes=(evil,), output=f"out/{evil}.exr"))
    markdown = format_markdown(page)
    assert "<img" not in markdown and "\x1b" not in markdown and "\n# d" not in markdown
    assert "&lt;img src=x" in markdown and "\\[a\\](javascript:z) \\`b\\` \\| c\\n# d" in markdown


def test_figures_beyond_their_limits_are_named_as_on_the_page() -> None:
    frames = (FrameReport(1, RENDERED, "o.0001.exr"),)
    text = format_markdown(make_render_page(RenderResult("swap", "o", "ACEScg", frames, {}, {}), remarks=["too soft"]))
    assert "- too soft" in text
    assert "nothing was flagged" not in text
