"""`fsgan render`, and shot files that `fsgan swap --save-shot` writes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from fsgan_core.cli import main
from tests.cli.conftest import SWAP, FakeRender


class TestShotFile:
    def test_saved_and_rendered(
        self,
        fake: Callable[..., FakeRender],
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        monkeypatch.chdir(tmp_path)
        first = fake()
        assert main([*SWAP, "--frames", "1-20", "--set", "blend.mix=0.5", "--save-shot", "shot.toml"]) == 0
        second = fake()
        assert main(["render", "shot.toml", "--frames", "3-4", "--set", "blend.grain=0", "--output", "x.####.exr"]) == 0
        assert first.shot is not None and second.shot is not None
        assert second.options["frames"] == "3-4" and second.shot.frames == "1-20"
        assert second.shot.output.path == "x.####.exr"
        assert second.shot.target.path == str(tmp_path / "b.####.exr")
        assert (second.shot.stages.blend.mix, second.shot.stages.blend.grain) == (0.5, 0.0)

    def test_no_such_file(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["render", str(tmp_path / "none.toml")]) == 2
        assert "none.toml" in capsys.readouterr().err
