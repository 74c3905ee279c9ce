from pathlib import Path

import pytest

from fsgan_core.contract.errors import EngineError
from fsgan_core.faces.detectors import detect_face_alignment
from fsgan_core.faces.detectors.choose_detector import make_detector


class TestMake:
    def test_one_object_per_process(self) -> None:
        assert make_detector("mesh") is make_detector("auto")

    def test_unknown_name(self) -> None:
        with pytest.raises(EngineError, match="choose one of auto, mesh, sfd"):
            make_detector("yolo")

    def test_auto_never_fetches(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setenv("TORCH_HOME", str(tmp_path))
        monkeypatch.setattr(detect_face_alignment, "_load_fan_detector", lambda *_: pytest.fail("tried to fetch"))
        assert make_detector("auto").name == "mesh"
