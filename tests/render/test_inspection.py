"""What files say of themselves, as `fsgan inspect` prints it."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from fsgan_core.cli import main
from fsgan_core.contract.errors import PlateError
from fsgan_core.plates.synthetic_mark import add_mark
from fsgan_core.render.inspection import inspect_file
from fsgan_core.render.pipeline import render_shot
from tests.small_shot import Small


def test_a_rendered_frame(small: Small, tmp_path: Path) -> None:
    render_shot(small.shot(tmp_path, "1", consent__reference="R-17"))
    frame = tmp_path / "swap.0001.exr"
    statement = inspect_file(frame)
    assert statement.is_synthetic is True and statement.damage == ""
    assert statement.facts["consent"] == "R-17" and "blend=poisson" in statement.facts["engine"]
    content = bytearray(frame.read_bytes())
    content[-5] ^= 1
    frame.write_bytes(content)
    assert inspect_file(frame).damage == "its content is not what was written"


def test_files_that_say_nothing(small: Small, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("hello")
    cv2.imwrite(str(tmp_path / "plain.png"), np.zeros((4, 4, 3), np.uint8))
    for path in (small.folder / "plate.0001.exr", tmp_path / "notes.txt", tmp_path / "plain.png"):
        assert inspect_file(path).is_synthetic is None
    with pytest.raises(PlateError, match="there is no plain file"):
        inspect_file(tmp_path / "none.exr")


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "sheet.png"
    path.write_bytes(add_mark(cv2.imencode(".png", np.zeros((4, 4, 3), np.uint8))[1].tobytes()))
    assert main(["inspect", str(path)]) == 0
    assert "synthesised pixels   yes" in capsys.readouterr().out
    assert main(["inspect", str(path), "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)["files"]
    assert (
        found["is_synthetic"] is True
        and "compositeWithTrainedAlgorithmicMedia" in found["facts"]["digital source type"]
    )
    assert main(["inspect", str(tmp_path / "none.png")]) == 2


def test_a_file_that_cannot_be_read_hides_no_other(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "sheet.png"
    path.write_bytes(add_mark(cv2.imencode(".png", np.zeros((4, 4, 3), np.uint8))[1].tobytes()))
    files = [str(tmp_path / "none.exr"), str(path), str(tmp_path / "gone.mp4")]
    assert main(["inspect", *files]) == 2
    said = capsys.readouterr()
    assert "sheet.png" in said.out and "synthesised pixels   yes" in said.out
    assert [line.rpartition("/")[2] for line in said.err.splitlines()] == ["none.exr", "gone.mp4"]
    assert main(["inspect", *files, "--json"]) == 2
    found = json.loads(capsys.readouterr().out)
    assert (found["ok"], found["exit_code"], [one["path"] for one in found["files"]]) == (False, 2, [str(path)])
    assert [one["path"] for one in found["failed"]] == [files[0], files[2]]
