"""The examples run, and do what they say."""

from __future__ import annotations

import csv
import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

import fsgan_core as fsgan
from tests.small_shot import Small


def load_example(name: str) -> ModuleType:
    path = Path(__file__).parents[1] / "examples" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"example_{name}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_swap(small: Small, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = str(tmp_path / "swap.####.exr")
    assert load_example("swap").main([str(small.folder / "source.png"), small.plate, output, "1"]) == 0
    assert (tmp_path / "swap.0001.exr").is_file() and "1 frames in" in capsys.readouterr().out
    assert load_example("swap").main(["none.png", small.plate, output]) == 2


def test_one_stage(small: Small, tmp_path: Path) -> None:
    target = small.folder / "plate.0001.exr"
    load_example("one_stage").main([str(small.folder / "source.png"), str(target), str(tmp_path / "a.exr")])
    before, after = (fsgan.read_image(path).get("R", "G", "B") for path in (target, tmp_path / "a.exr"))
    changed = np.abs(after - before).max(-1) > 0.02
    assert 0.01 < changed.mean() < 0.6


def test_export_track(small: Small, tmp_path: Path) -> None:
    load_example("export_track").main([small.plate, str(tmp_path / "track.csv")])
    with (tmp_path / "track.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) % 68 == 0 and {row["person"] for row in rows} == {"0"} and float(rows[0]["x"]) > 0
