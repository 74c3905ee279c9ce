"""The benchmark over pairs of clips: its choice of frames and pairs, its table, and the blind comparison."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np
import pytest

from fsgan_core.report.contact_sheet import BeforeAfter

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def load(name: str) -> ModuleType:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BENCHMARKS))
        return importlib.import_module(name)


@pytest.fixture(scope="module")
def quality() -> ModuleType:
    return load("quality")


@pytest.fixture(scope="module")
def blind() -> ModuleType:
    return load("blind_comparison")


def test_frames(quality: ModuleType) -> None:
    assert quality.choose_frames("1-48", 12) == (6, 18, 30, 42)
    assert quality.choose_frames("1-48", 24) == (12, 36)
    assert quality.choose_frames("1-3", 1) == (1, 2, 3)
    assert quality.choose_frames("1-48", 12, "15-17") == (15, 16, 17)


def test_pairs(quality: ModuleType, tmp_path: Path) -> None:
    one = {"name": "a__b", "source": "clips/a.mp4", "target": "clips/b.mp4"}
    (tmp_path / "pairs.json").write_text(json.dumps({"tune": [one], "validate": [{**one, "name": "c__d"}]}))
    assert [pair.name for pair in quality.read_pairs(tmp_path, ["tune", "c__d"])] == ["a__b", "c__d"]
    assert len(quality.read_pairs(tmp_path, ["hard"])) == 8
    assert len(quality.read_pairs(tmp_path, ["all"])) == 10
    with pytest.raises(SystemExit, match="no such pair: x"):
        quality.read_pairs(tmp_path, ["x"])


def test_table(quality: ModuleType) -> None:
    rows = [
        {"engine": "default", "pair": f"{part}__x", "part": part, "verdict": "fail", "lost": [], "outside": 0}
        | {"means": {"gaze": gaze, "tone": None}}
        for part, gaze in (("tune", 0.01), ("hard", 0.03))
    ]
    lines = quality.format_markdown(rows).splitlines()
    column = next(line for line in lines if "gaze" in line).split("|").index(" gaze, % ")
    found = {line.split("|")[1].strip(): line.split("|")[column].strip() for line in lines if line.startswith("| ")}
    assert found["**default, all** (2)"] == "2.00" and found["default, tune (1)"] == "1.00"
    assert found["at most"] == "2.00" and found["hard > x"] == "3.00"


def make_reader(level: int) -> Callable[[Sequence[int]], list[BeforeAfter]]:
    """Frames of 200 pixels: a grey target, and a result of `level`."""

    def read(frames: Sequence[int]) -> list[BeforeAfter]:
        before = np.full((200, 200, 3), 100, np.uint8)
        return [BeforeAfter(frame, before, np.full_like(before, level), (50, 50, 100, 100)) for frame in frames]

    return read


def test_blind_comparison(blind: ModuleType, tmp_path: Path) -> None:
    for pair in ("one__two", "three__four", "five__six", "seven__eight"):
        blind.write_comparison(tmp_path, pair, range(1, 15), make_reader(20), make_reader(230))
    key = json.loads((tmp_path / "key.json").read_text())
    assert sorted(entry["pair"] for entry in key.values()) == ["five__six", "one__two", "seven__eight", "three__four"]
    files = {path.name for path in (tmp_path / "judge").iterdir()}
    assert files == {f"{number}{end}" for number in key for end in (".png", ".mp4", "_slices.png", "_neighbours.png")}
    for number, entry in key.items():
        picture = cv2.imread(str(tmp_path / "judge" / f"{number}.png"))
        bottom = picture[-50]
        levels = [int(bottom[round((place + 0.5) * len(bottom) / 3), 0]) for place in range(3)]
        assert levels == [100, *(230 if entry[side] == "new" else 20 for side in "AB")]
        rows = cv2.imread(str(tmp_path / "judge" / f"{number}_neighbours.png"))
        assert rows.shape[1] == 8 * 240 and [int(rows[y, 1000, 0]) for y in (120, 360, 600)] == levels
    before = dict(key)
    blind.write_comparison(tmp_path, "one__two", [1], make_reader(20), make_reader(230))  # once more: the same number
    after = json.loads((tmp_path / "key.json").read_text())
    assert {number: entry["pair"] for number, entry in after.items()} == {
        number: entry["pair"] for number, entry in before.items()
    }


def test_crop_beyond_the_picture(blind: ModuleType) -> None:
    picture = np.full((40, 60, 3), 200, np.uint8)
    crop = blind.crop_square(picture, (0, 20), 32)
    assert crop.shape == (32, 32, 3) and (crop[:, 16:] == 200).all() and (crop[:, :16] < 40).all()
