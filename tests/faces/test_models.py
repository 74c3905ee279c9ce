import threading
import time
from pathlib import Path

import pytest

from fsgan_core.contract.errors import EngineError, WeightsError
from fsgan_core.contract.licences import LICENCE_CLASSES
from fsgan_core.contract.param_fields import iterate_param_fields
from fsgan_core.contract.params import AnalyseParams
from fsgan_core.faces import models
from fsgan_core.faces.detectors.choose_detector import make_detector
from fsgan_core.faces.landmarkers.landmarks import make_landmarker
from fsgan_core.networks.weights.installed import find_packaged_weights


class TestShared:
    def test_loaded_once_by_many_threads(self) -> None:
        calls = []

        def load() -> object:
            time.sleep(0.05)
            calls.append(1)
            return object()

        found: list[object] = []
        threads = [
            threading.Thread(target=lambda: found.append(models.get_shared(("test", "once"), load))) for _ in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(calls) == 1 and len(set(map(id, found))) == 1


class TestLicences:
    """The limit holds for what looks at a face, whether it is installed or not."""

    def test_every_engine_has_a_class(self) -> None:
        names = {field.name: field.choices for field in iterate_param_fields(AnalyseParams)}
        engines = {*names["detector"], *names["landmarks"]} - {"auto", "hrnet"}
        assert engines == set(models.MODEL_LICENCES)
        assert set(models.MODEL_LICENCES.values()) <= set(LICENCE_CLASSES)

    @pytest.mark.parametrize("name", ["sfd", "blazeface"])
    def test_detectors(self, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
        with pytest.raises(WeightsError, match=f"'{name}'.*weights.allow = commercial.*choose mesh"):
            make_detector(name, allow="commercial")
        monkeypatch.setenv("FSGAN_WEIGHTS_ALLOW", "commercial")
        with pytest.raises(WeightsError, match="FSGAN_WEIGHTS_ALLOW = commercial"):
            make_detector(name)

    @pytest.mark.parametrize("name", ["dlib", "fan"])
    def test_landmarkers(self, name: str) -> None:
        with pytest.raises(WeightsError, match=f"'{name}'.*choose mesh"):
            make_landmarker(name, allow="commercial")

    def test_the_default_is_allowed(self) -> None:
        assert make_detector(allow="commercial").name == make_landmarker("mesh", allow="commercial").name == "mesh"
        for name in models.PACKAGED_NETWORKS.values():
            assert find_packaged_weights(name, "commercial").info.licence == "commercial"


class TestFiles:
    @pytest.mark.usefixtures("dlib_extra")
    def test_models_are_found_without_importing_their_package(self) -> None:
        assert models.find_dlib_model(models.SHAPE_68_FILE).is_file()

    def test_missing_model_says_what_to_install(self) -> None:
        with pytest.raises(EngineError, match=r"face-recognition-models is not installed.*fsgan\[dlib\]"):
            models.find_dlib_model("no_such_model.dat")

    def test_missing_package_says_what_to_install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(models.importlib.util, "find_spec", lambda name: None)
        with pytest.raises(EngineError, match="face-recognition-models"):
            models.find_dlib_model(models.SHAPE_68_FILE)

    def test_checkpoints_lie_where_torch_looks(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setenv("TORCH_HOME", str(tmp_path))
        assert models.find_checkpoint_folder() == tmp_path / "hub" / "checkpoints"
        assert not models.has_fan_files("blazeface")
        models.find_checkpoint_folder().mkdir(parents=True)
        for name in models.FAN_FILES["blazeface"]:
            (models.find_checkpoint_folder() / name).touch()
        assert models.has_fan_files("blazeface")
        monkeypatch.delenv("TORCH_HOME")
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
        assert models.find_checkpoint_folder() == tmp_path / "cache" / "torch" / "hub" / "checkpoints"

    def test_error_names_the_files_and_the_folder(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setenv("TORCH_HOME", str(tmp_path))
        text = str(models.make_fan_error("sfd", OSError("no route to host")))
        assert "s3fd-619a316812.pth" in text and str(tmp_path) in text and "no route to host" in text
        assert "choose mesh" in text
