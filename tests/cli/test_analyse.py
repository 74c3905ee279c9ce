"""`fsgan analyse`: tracks with real pixels."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from fsgan_core.cli import main
from fsgan_core.faces.track_file import load_track
from tests.small_shot import Small


class TestAnalyse:
    def test_writes_a_track(self, small: Small, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        track = tmp_path / "t.json"
        assert main(["analyse", "--target", small.plate, "--frames", "2-4", "-o", str(track)]) == 0
        said = capsys.readouterr().out
        assert "3 frames, 1 person;" in said and "person 0: 3 frames" in said
        assert load_track(track).frames == (2, 3, 4)

    def test_json(self, small: Small, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert (
            main(["analyse", "--source", str(small.folder / "source.png"), "-o", str(tmp_path / "t.json"), "--json"])
            == 0
        )
        said = capsys.readouterr()
        found = json.loads(said.out)
        assert found["ok"] and found["frames"] == 1 and found["people"][0]["frames"] == 1
        assert json.loads(said.err.splitlines()[0])["event"] == "analyse"

    @pytest.mark.parametrize("name", ["t.txt", "t"])
    def test_a_track_is_called_json(
        self, small: Small, tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main(["analyse", "--target", small.plate, "-o", str(tmp_path / name)]) == 2
        assert ".json" in capsys.readouterr().err

    def test_clip_without_people(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        cv2.imwrite(str(tmp_path / "wall.png"), np.full((64, 64, 3), 90, np.uint8))
        assert main(["analyse", "--target", str(tmp_path / "wall.png"), "-o", str(tmp_path / "t.json")]) == 0
        assert "no face was found" in capsys.readouterr().out
