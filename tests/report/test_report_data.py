"""The data of a report: figures, JSON, CSV, limits, remarks, what changed, plots."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import pytest

from fsgan_core.contract.errors import InputError
from fsgan_core.render.context import FLAG_MEANINGS, NO_FACE, QUICK
from fsgan_core.report.changes import (
    DATA_FILE,
    PICTURES_FILE,
    compare_reports,
    read_last_report,
    write_last_pictures,
)
from fsgan_core.report.data import Fact, ReportData, ReportFrame, write_report_csv, write_report_json
from fsgan_core.report.facts import list_times
from fsgan_core.report.figures import make_figures
from fsgan_core.report.limits import find_broken_limits, parse_limit
from fsgan_core.report.plots import make_plots
from fsgan_core.report.remarks import get_advice, make_remarks
from fsgan_core.runtime.events import KEPT, PASSED, RENDERED, FrameReport, RenderResult
from tests.report.made_up_report import COUNT, EVIL, FIRST, make_data, make_player


def test_json_and_csv_hold_the_same_figures(tmp_path: Path) -> None:
    data = make_data()
    stored = json.loads(write_report_json(data, tmp_path / "r.json").read_text())
    rows = list(csv.DictReader(write_report_csv(data, tmp_path / "r.csv").read_text().splitlines()))
    identity = next(one for one in stored["figures"] if one["name"] == "identity")
    assert [float(row["identity"]) for row in rows] == identity["values"]
    assert identity["worst_frame"] == FIRST + 7 and identity["limit"] == 0.4
    assert rows[0]["flicker"] == "" and rows[3]["flags"] == "pose-clamped" and rows[7]["verdict"] == "look"
    assert rows[0]["seconds.reenact"] == "1" and float(rows[0]["seconds"]) == pytest.approx(1.6)
    assert [one["number"] for one in stored["frames"]] == list(range(FIRST, FIRST + COUNT))


def test_a_formula_is_quoted_in_csv(tmp_path: Path) -> None:
    data = make_data()
    frames = (replace(data.frames[0], flags=("=cmd()",)), *data.frames[1:])
    text = write_report_csv(replace(data, frames=frames), tmp_path / "r.csv").read_text()
    assert "'=cmd()" in text


@pytest.mark.parametrize(
    ("limit", "expected"),
    [
        ("identity>0.5", [f"identity>0.5: 0.55 in frame {FIRST + 7}; beyond the limit: {FIRST + 7}"]),
        ("identity > 0.6", []),
        ("mean identity>0.3", ["mean identity>0.3: the mean is 0.3458"]),
        ("mean identity>0.5", []),
        ("lids>0.03", ["lids>0.03: lids was measured on no frame (`fsgan report` measures all)"]),
        ("failed>0", []),
        ("flagged>0", [f"flagged>0: 1 flagged frames: {FIRST + 3}"]),
        ("seconds.reenact<2", [f"seconds.reenact<2: 1 in frame {FIRST}; beyond the limit: {FIRST}-{FIRST + 11}"]),
    ],
)
def test_limits(limit: str, expected: list[str]) -> None:
    assert find_broken_limits(make_data(), [parse_limit(limit)]) == expected


def test_wrong_limits() -> None:
    with pytest.raises(InputError, match="is not a limit"):
        parse_limit("identity=>0.5; rm")
    with pytest.raises(InputError, match="no figure 'identy'; did you mean identity"):
        parse_limit("identy>1")
    with pytest.raises(InputError, match="no figure 'sharpness'; did you mean sharpness_off"):
        parse_limit("sharpness>1.3")
    with pytest.raises(InputError, match="no figure 'zzz'; there are failed, flagged, identity"):
        parse_limit("mean zzz>1")


def test_remarks_say_why_and_what_to_do() -> None:
    first, second = make_data().remarks[:2]
    assert first.frames == (FIRST + 7,) and "looks" not in first.reason
    assert first.reason == (
        f"the face resembles the source too little in 1 of {COUNT} measured frames; identity at worst 0.550 in frame "
        f"{FIRST + 7}, limit 0.400"
    )
    assert "reenact.likeness" in first.advice
    assert second.name == "pose-clamped" and "nearest pose" in second.reason and "view map" in second.advice


@pytest.mark.parametrize(
    ("ratios", "words"),
    [
        ((0.4, 0.5), "softer than the target's in 2 of"),
        ((2.5, 2.0), "crisper than the target's in 2 of"),
        ((0.4, 2.5), "softer than the target's (1) or crisper (2) in 2 of"),
    ],
)
def test_a_remark_says_which_way_the_sharpness_is_off(ratios: tuple[float, float], words: str) -> None:
    off = [max(ratio, 1 / ratio) for ratio in ratios]
    figures = make_figures(2, {"sharpness_off": off}, [{}, {}])
    frames = [ReportFrame(number, RENDERED) for number in (1, 2)]
    rows = {number: {"sharpness": ratio} for number, ratio in enumerate(ratios, start=1)}
    (remark,) = make_remarks(frames, figures, rows)
    assert words in remark.reason


@pytest.mark.parametrize("flag", [*FLAG_MEANINGS, NO_FACE])
def test_each_flag_has_a_reason_and_advice_of_its_own(flag: str) -> None:
    (remark,) = make_remarks([ReportFrame(7, RENDERED, (flag,))], ())
    assert remark.name == flag and remark.frames == (7,)
    assert not remark.reason.startswith(flag) and remark.reason.endswith(" (7)")
    assert remark.advice != get_advice("a name without advice")


def test_a_quick_look_is_to_be_rendered_again() -> None:
    frames = [ReportFrame(number, RENDERED, (QUICK,)) for number in (1, 2, 3)]
    (remark,) = make_remarks(frames, ())
    assert remark.frames == (1, 2, 3) and "only these frames were analysed" in remark.reason
    assert "render without the quick look" in remark.advice


def test_a_drive_has_no_limits_on_the_expression() -> None:
    columns = {"gaze": [0.5], "light": [9.0]}
    limits = {one.name: one.limit for one in make_figures(1, columns, [{}], is_drive=True)}
    assert limits["gaze"] is None and limits["light"] == 1.5


def test_plots_escape_and_mark_the_worst() -> None:
    plots = {plot.name: plot for plot in make_plots(make_data())}
    assert set(plots) == {"identity", "gaze", "flicker", "seconds"}
    assert plots["identity"].worst_frame == FIRST + 7 and plots["identity"].is_bad
    assert plots["flicker"].measured == f"{COUNT - 1} of {COUNT} frames"
    assert "<img" not in plots["seconds"].svg


def test_a_figure_that_is_always_the_same_can_be_drawn() -> None:
    data = make_data(1)
    assert make_plots(data)


class TestChanges:
    """A report of other pictures is compared; one of the same pictures keeps the comparison."""

    def write(self, folder: Path, data: ReportData) -> ReportData:
        last = read_last_report(folder, data.output)
        player = make_player()
        facts = (*data.settings, *data.weights, *data.surroundings)
        changes, self.pairs, stored = compare_reports(last, data.frames, data.figures, facts, data.engines, player)
        data = replace(data, changes=changes)
        write_report_json(data, folder / DATA_FILE)
        write_last_pictures(stored, folder / PICTURES_FILE)
        return data

    def test_the_first_report_has_nothing_to_compare_with(self, tmp_path: Path) -> None:
        assert self.write(tmp_path, make_data()).changes is None
        assert self.pairs == []

    def test_changed_pictures(self, tmp_path: Path) -> None:
        first = make_data()
        self.write(tmp_path, first)
        frames = (replace(first.frames[0], key="other"), *first.frames[1:])
        figures = make_figures(COUNT, {"identity": [0.2] * COUNT}, [{}] * COUNT)
        second = replace(
            first, frames=frames, figures=figures, settings=(Fact("mask.feather", "0.1"),), made="2026-11-29"
        )
        changes = self.write(tmp_path, second).changes
        assert changes is not None and changes.frames == (FIRST,) and changes.since == first.made
        assert ("mask.feather", "default", "0.1") in [(one.label, one.before, one.after) for one in changes.settings]
        assert [(one.label, one.better) for one in changes.figures] == [("identity", True)]
        assert [pair.frame for pair in self.pairs] == [FIRST]
        again = self.write(tmp_path, replace(second, made="2026-11-30"))
        assert again.changes == changes and self.pairs[0].frame == FIRST

    def test_another_shots_report_does_not_count(self, tmp_path: Path) -> None:
        self.write(tmp_path, make_data())
        assert read_last_report(tmp_path, "elsewhere/swap.####.exr").data == {}

    def test_known_figures_of_equal_frames(self, tmp_path: Path) -> None:
        first = make_data()
        self.write(tmp_path, first)
        last = read_last_report(tmp_path, first.output)
        frames = (replace(first.frames[0], key="other"), *first.frames[1:])
        known = last.find_known_figures(frames)
        assert sorted(known) == [frame.number for frame in first.frames[1:]]
        assert known[FIRST + 7]["identity"] == 0.55

    @pytest.mark.parametrize(
        "text", ["", "[]", "{", '{"format": 1}', '{"format": 1, "output": 3}', "null", '{"format": 1, "output": "x"}']
    )
    def test_a_damaged_report_is_ignored(self, tmp_path: Path, text: str) -> None:
        (tmp_path / DATA_FILE).write_text(text)
        assert read_last_report(tmp_path, "x").data == {}

    def test_pictures_that_are_no_jpeg_are_left_out(self, tmp_path: Path) -> None:
        data = make_data()
        write_report_json(data, tmp_path / DATA_FILE)
        stored = {"now": {"1001": "PHNjcmlwdD4=", "1002": EVIL}, "earlier": {}}
        (tmp_path / PICTURES_FILE).write_text(json.dumps(stored))
        assert read_last_report(tmp_path, data.output).pictures == {}


def test_times_per_frame_count_the_frames_that_took_time() -> None:
    """A report that renders nothing tells the times of the last render."""
    frames = tuple(
        FrameReport(number, state, "", {"blend": 2.0} if state == KEPT else {})
        for number, state in ((1, KEPT), (2, KEPT), (3, PASSED))
    )
    result = RenderResult("swap", "o.####.exr", "ACEScg", frames, {"blend": 4.0, "total": 6.0}, {}, "cpu", ())
    assert [fact.value for fact in list_times(result, {})] == ["4.00 s, 2.000 s per frame", "6.00 s, 3.000 s per frame"]
