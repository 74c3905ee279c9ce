"""An evaluation as table, plots and JSON."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from rich.console import Console
from rich.table import Table

from fsgan_core.contract.errors import EngineError, OutputError
from fsgan_core.evaluation.charts import (
    TABLE_WIDTH,
    describe_evaluation,
    make_comparison_table,
    make_evaluation_table,
    write_csv,
    write_json,
    write_plots,
)
from fsgan_core.evaluation.evaluation import Evaluation
from fsgan_core.evaluation.metric_limits import EXTRA_METRIC_NAMES, METRIC_NAMES, METRICS


def evaluation(name: str = "swap.####.exr", lost: tuple[int, ...] = (), **values: list[float]) -> Evaluation:
    figures = {figure: np.array(values.get(figure, [1.0, 2.0, 3.0])) for figure in (*METRIC_NAMES, *EXTRA_METRIC_NAMES)}
    return Evaluation(("source.mov",), "target.####.exr", name, (11, 12, 14), figures, 40, "matte.soft", True, lost)


def printed(shown: Table) -> str:
    console = Console(width=200, file=io.StringIO())
    console.print(shown)
    return console.file.getvalue()  # type: ignore[attr-defined]


class TestTable:
    def test_means_and_worst_frames(self) -> None:
        text = printed(make_evaluation_table(evaluation(landmarks=[0.01, 0.02, 0.06], ssim=[0.9, 0.7, 0.8])))
        rows = {
            row.split("│")[1].strip(): [cell.strip() for cell in row.split("│")[2:8]]
            for row in text.splitlines()
            if row.startswith("│")
        }
        assert rows["landmarks"] == ["3.00 %", "low", "1.20", "fail", "6.00", "14"]
        assert rows["SSIM"] == ["0.800", "high", "", "", "0.700", "12"]  # lower is worse
        assert rows["identity, untouched"] == ["2.000", "", "", "", "-", ""]  # neither way is worse

    def test_fits_its_width_whatever_the_figures(self) -> None:
        widest = {name: [-123456.0, 1e7, 1.0] for name in METRIC_NAMES}
        long_name = "a_shot_with_a_long_name_" * 4 + ".####.exr"
        text = printed(make_evaluation_table(evaluation(long_name, **widest)))
        rows = [row for row in text.splitlines() if row[:1] in tuple("┏┃┡│└")]
        assert len(rows) == len(METRICS) + 4
        assert max(map(len, rows)) <= TABLE_WIDTH
        assert "…" not in text

    def test_unknown_and_infinite(self) -> None:
        text = printed(make_evaluation_table(evaluation(flicker=[np.nan] * 3, sharpness_off=[np.inf, 1.0, 1.0])))
        flicker = next(row for row in text.splitlines() if "flicker" in row)
        assert flicker.count("- ") >= 2 and "nan" not in text
        assert "inf x" in text


class TestLines:
    def test_all_found(self) -> None:
        said = describe_evaluation(evaluation(outside=[0.0, 0.0, 0.0]))
        assert said == [
            "a face in 3 of the 3 frames whose target shows one",
            "no pixels changed outside the matte (matte.soft)",
            "verdict: fail; fail: 11-12,14",
        ]

    def test_lost(self) -> None:
        said = describe_evaluation(evaluation(lost=(12, 14), outside=[1.0, 0.0, 0.0]))
        assert said[0].startswith("a face in 1 of the 3") and "12,14" in said[0]
        assert said[1].startswith("1 pixel changed")


class TestComparison:
    def test_mean_of_several(self) -> None:
        many = [evaluation(identity=[0.2] * 3), evaluation(identity=[0.4] * 3, lost=(11,))]
        text = printed(make_comparison_table(many, ["a", "b"]))
        rows = [[cell.strip() for cell in row.split("│")[1:-1]] for row in text.splitlines() if row.startswith("│")]
        assert [row[0] for row in rows] == ["a", "b", "mean"]
        assert [row[1] for row in rows] == ["0.200", "0.400", "0.300"]
        assert [row[-2] for row in rows] == ["0", "1", "1"]

    def test_one_has_no_mean_row(self) -> None:
        assert "mean " not in printed(make_comparison_table([evaluation()])).split("means over frames")[1]


class TestFiles:
    def test_json(self, tmp_path: Path) -> None:
        path = write_json(evaluation(euler=[1.0, np.nan, 2.0]), tmp_path / "new" / "evaluation.json")
        data = json.loads(path.read_text())
        assert data["figures"]["euler"] == [1.0, None, 2.0] and data["means"]["euler"] == 1.5

    def test_csv(self, tmp_path: Path) -> None:
        path = write_csv(evaluation(gaze=[0.01, np.nan, 0.03], lost=(12,)), tmp_path / "evaluation.csv")
        rows = [line.split(",") for line in path.read_text().splitlines()]
        column = rows[0].index("gaze")
        assert [row[column] for row in rows] == ["gaze", "0.01", "", "0.03"]
        assert [row[0] for row in rows] == ["frame", "11", "12", "14"]
        assert [row[1] for row in rows[1:]] == ["fail"] * 3  # most of the values are far above any limit

    def test_plots(self, tmp_path: Path) -> None:
        path = write_plots(evaluation(lost=(12,), outside=[0.0] * 3, flicker=[np.nan] * 3), tmp_path / "plots.png")
        picture = cv2.imread(str(path))
        assert picture.shape == (1900, 1400, 3)
        orange = (np.abs(picture.astype(int) - (0x0C, 0x41, 0xC2)).max(axis=2) < 8).sum()
        shaded = (picture == (0xCA, 0xCA, 0xFE)).all(axis=2).sum()
        assert orange > 500 and shaded > 1000

    def test_plots_of_nothing(self, tmp_path: Path) -> None:
        empty = {name: [np.nan] * 3 for name in (*METRIC_NAMES, *EXTRA_METRIC_NAMES)}
        assert write_plots(evaluation(**empty), tmp_path / "plots.png").is_file()

    def test_plots_without_matplotlib(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
        with pytest.raises(EngineError, match=r'pip install "fsgan\[charts\]"'):
            write_plots(evaluation(), tmp_path / "plots.png")

    def test_folder_that_cannot_be_written(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        with pytest.raises(OutputError):
            write_json(evaluation(), tmp_path / "file" / "evaluation.json")
