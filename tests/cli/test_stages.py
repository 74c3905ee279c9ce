"""The commands of single stages: `fsgan reenact`, `mask`, `inpaint`, `blend`."""

from __future__ import annotations

from pathlib import Path

import pytest

from fsgan_core.cli import main
from tests.cli.conftest import source_flags, target_flags
from tests.small_shot import Small


def test_a_stage_is_of_one_job(small: Small, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = ["-o", str(tmp_path / "r.####.exr")]
    assert main(["reenact", *source_flags(small), "--driver", "d.mov", *target_flags(small), *output]) == 2
    assert "not both" in capsys.readouterr().err
    assert main(["reenact", *target_flags(small), *output]) == 2
    assert "needs a source" in capsys.readouterr().err


def test_a_stage_of_a_drive(small: Small, tmp_path: Path) -> None:
    driver = ["--driver", str(small.folder / "source.png"), "--driver-track", str(small.folder / "source.json")]
    assert main(["mask", *driver, *target_flags(small), "-f", "1", "-o", str(tmp_path / "m.####.exr"), "-q"]) == 0
    assert (tmp_path / "m.0001.exr").is_file()
