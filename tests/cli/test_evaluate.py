"""`fsgan swap --report` and `fsgan evaluate`, with real pixels."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import pytest

from fsgan_core.cli import main
from fsgan_core.contract.errors import InputError
from fsgan_core.report.write import read_frame_seconds
from tests.cli.conftest import source_flags, target_flags
from tests.small_shot import FRAMES, Small


class TestSwapReportEvaluate:
    def test_the_whole_way(self, small: Small, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        result = str(tmp_path / "out" / "s.####.exr")
        report = tmp_path / "report"
        assert (
            main(
                [
                    "swap",
                    *source_flags(small),
                    *target_flags(small),
                    "-o",
                    result,
                    "--layers",
                    "all",
                    "--report",
                    str(report),
                    "--save-shot",
                    str(tmp_path / "shot.toml"),
                    "-v",
                ]
            )
            == 0
        )
        said = capsys.readouterr()
        assert f"{FRAMES} rendered" in said.out and "summary.html" in said.out
        assert "info: frame 3 rendered" in said.err and "engine poisson" in said.err
        assert {"contact_sheet.jpg", "summary.html", "summary.md", "result.json"} <= {p.name for p in report.iterdir()}
        assert any(path.stem == "preview" for path in report.iterdir())
        assert json.loads((report / "result.json").read_text())["counts"]["rendered"] == FRAMES
        assert cv2.imread(str(report / "contact_sheet.jpg")).shape[0] > 300
        assert "blend" in (report / "summary.md").read_text()

        assert (
            all(value > 0 for value in read_frame_seconds(report).values())
            and len(read_frame_seconds(report)) == FRAMES
        )
        assert main(["render", str(tmp_path / "shot.toml")]) == 0
        assert f"{FRAMES} kept" in capsys.readouterr().out
        (tmp_path / "timed").mkdir()
        (tmp_path / "timed" / "result.json").write_text(
            json.dumps(
                {
                    "frames": [
                        {"frame": 1, "seconds": {"read": 0.25, "blend": 0.75}},
                        {"frame": 2, "state": "kept"},
                        {"frame": 3, "seconds": {"blend": 2.0}},
                    ]
                }
            )
        )

        assert (
            main(
                [
                    "evaluate",
                    "--source",
                    str(small.folder / "source.png"),
                    "--target",
                    small.plate,
                    "--result",
                    result,
                    "--frames",
                    "1-3",
                    "--output",
                    str(tmp_path / "figures"),
                ]
            )
            == 0
        )
        assert "identity" in capsys.readouterr().out
        assert {path.name for path in (tmp_path / "figures").iterdir()} == {
            "evaluation.csv",
            "evaluation.json",
            "evaluation.png",
        }
        assert (
            main(
                [
                    "evaluate",
                    "--source",
                    str(small.folder / "source.png"),
                    "--target",
                    small.plate,
                    "--result",
                    result,
                    "--frames",
                    "1-3",
                    "--report",
                    str(tmp_path / "timed"),
                    "--json",
                ]
            )
            == 0
        )
        found = json.loads(capsys.readouterr().out)
        assert found["ok"] and found["frames"] == [1, 2, 3] and found["outside_total"] == 0
        assert 0 <= found["means"]["edge"] < 10 and found["means"]["seconds"] == pytest.approx(1.5)
        assert found["means"]["identity"] < found["means"]["identity_target"]

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            (None, "cannot be read"),
            ("[1]", "not the result"),
            ("{", "not the result"),
            ('{"frames": [{"frame": 1, "seconds": 3}]}', "not the result"),
        ],
    )
    def test_a_report_that_is_none(self, tmp_path: Path, text: str | None, said: str) -> None:
        if text is not None:
            (tmp_path / "result.json").write_text(text)
        with pytest.raises(InputError, match=said):
            read_frame_seconds(tmp_path)

    def test_nothing_to_show(self, small: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """All frames failed: a report without pictures, and the exit code says so."""

        def faulty(*_: object, **__: object) -> None:
            raise InputError("out of paint")

        monkeypatch.setattr("fsgan_core.stages.blending.blend", faulty)
        report = tmp_path / "report"
        assert (
            main(
                [
                    "swap",
                    *source_flags(small),
                    *target_flags(small),
                    "-f",
                    "1",
                    "-o",
                    str(tmp_path / "s.####.exr"),
                    "--report",
                    str(report),
                    "-q",
                ]
            )
            == 1
        )
        assert sorted(path.name for path in report.iterdir()) == [
            *("report.csv", "report.json", "report_pictures.json"),
            *("result.json", "summary.html", "summary.md"),
        ]
        assert "out of paint" in (report / "summary.md").read_text()
