"""The demo's inputs: what issue and README promise of them."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from fsgan_core.plates.image_reader import read_image

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def demo_plate() -> ModuleType:
    pytest.importorskip("matplotlib")
    return load("demo_plate")


class TestPlate:
    def test_a_frame_on_disk(self, demo_plate: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(demo_plate, "FIRST_FRAME", 1012)
        monkeypatch.setattr(demo_plate, "FRAME_COUNT", 2)
        assert demo_plate.write_plate(str(tmp_path / "a" / "plate.####.exr")) == (1012, 1013)
        plate = read_image(tmp_path / "a" / "plate.1013.exr")
        assert plate.pixels.shape == (1080, 1920, 3)
        assert plate.formats == ("half", "half", "half")
        assert plate.metadata["timeCode"].type == "timecode"
        above = (plate.pixels > 1.0).mean()
        assert 0.001 < above < 0.05
        assert plate.pixels.max() > 10.0
        again = tmp_path / "b" / "plate.####.exr"
        demo_plate.write_plate(str(again))
        first, second = (path / "plate.1013.exr" for path in (tmp_path / "a", tmp_path / "b"))
        assert first.read_bytes() == second.read_bytes()

    def test_the_camera_moves_smoothly_by_parts_of_a_pixel(self, demo_plate: ModuleType) -> None:
        corner = np.array([100.0, 100.0, 1.0])
        numbers = range(demo_plate.FIRST_FRAME, demo_plate.FIRST_FRAME + demo_plate.FRAME_COUNT)
        path = np.array([demo_plate.compute_camera(number) @ corner for number in numbers])
        steps = np.diff(path, axis=0)
        assert np.abs(path - np.round(path)).max() > 0.2
        assert 1.0 < np.linalg.norm(steps, axis=1).max() < 20.0
        assert np.abs(np.diff(steps, axis=0)).max() < 1.5
        angles = [np.degrees(np.arctan2(*demo_plate.compute_camera(number)[::-1, 0])) for number in numbers]
        assert max(angles) - min(angles) > 2.0

    def test_timecode_digits(self, demo_plate: ModuleType) -> None:
        assert demo_plate._make_metadata(1001, "x")["timeCode"].value == (0x01000000, 0)
        assert demo_plate._make_metadata(1024, "x")["timeCode"].value == (0x01000023, 0)


class TestResults:
    def test_what_is_missing_is_named(
        self,
        demo_plate: ModuleType,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        monkeypatch.syspath_prepend(str(EXAMPLES))
        demo = load("demo")
        (tmp_path / "swap.0001.exr").write_bytes(b"")
        (tmp_path / "summary.txt").write_text("what was done")
        (tmp_path / "contact.jpg").write_bytes(b"")
        assert demo.show_results(tmp_path / "swap.####.exr", (1, 2), tmp_path) == 1
        said = capsys.readouterr()
        assert "what was done" in said.out
        assert "contact.jpg" in said.out
        assert "preview movie" in said.err
        assert "swap.0002.exr" in said.err
        assert "swap.0001.exr" not in said.err
