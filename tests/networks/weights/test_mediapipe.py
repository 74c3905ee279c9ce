"""The conversion of MediaPipe's files: the reader, and that the shipped files can be made again."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

import pytest

from fsgan_core.contract.errors import WeightsError
from fsgan_core.networks.architectures.build import GRAPH_NAMES
from fsgan_core.networks.weights import mediapipe
from fsgan_core.networks.weights.tflite_reader import read_flexbuffer, read_tflite


@pytest.fixture
def modules() -> Path:
    """The folder mediapipe/modules of the unpacked wheel, from FSGAN_MEDIAPIPE. Skips where there is none."""
    folder = Path(os.environ.get("FSGAN_MEDIAPIPE", "none")) / "mediapipe" / "modules"
    if not folder.is_dir():
        pytest.skip("no unpacked wheel of mediapipe (set FSGAN_MEDIAPIPE)")
    return folder


def test_the_shipped_files_are_made_again(modules: Path, tmp_path: Path) -> None:
    mediapipe.convert_networks(modules, tmp_path, tmp_path)
    package = Path(mediapipe.__file__).parent
    for name in GRAPH_NAMES:
        file = f"mediapipe_{name}.safetensors"
        assert (tmp_path / file).read_bytes() == (package / file).read_bytes()
        graph = package.parent / "architectures" / "graphs" / f"{name}.json"
        assert (tmp_path / f"{name}.json").read_text("utf-8") == graph.read_text("utf-8")


def test_what_is_not_known_is_refused(modules: Path) -> None:
    with pytest.raises(WeightsError, match="not known here"):
        mediapipe.convert_network(modules / "selfie_segmentation" / "selfie_segmentation.tflite", ("mask",))


def test_another_file(tmp_path: Path) -> None:
    file = tmp_path / "x.tflite"
    for content in (b"", b"\x1c\0\0\0PK12" + bytes(40), b"\x1c\0\0\0TFL3", b"\x1c\0\0\0TFL3" + bytes(40)):
        file.write_bytes(content)
        with pytest.raises(WeightsError, match=r"x\.tflite"):
            read_tflite(file)
    with pytest.raises(WeightsError, match="cannot be read"):
        read_tflite(tmp_path / "none.tflite")


def test_flexbuffer_against_the_library() -> None:
    if importlib.util.find_spec("flatbuffers") is None:
        pytest.skip("the package flatbuffers is not installed")
    from flatbuffers import flexbuffers

    options = {"scale": 1.5, "left": 61, "indices": [1, -2, 300], "mixed": [1.5, 2], "wide": 70_000, "low": -3}
    assert read_flexbuffer(bytes(flexbuffers.Dumps(options))) == options


def test_a_damaged_flexbuffer() -> None:
    for data in (b"", b"\x01", bytes(3), bytes(range(20))):
        with pytest.raises(WeightsError, match="options"):
            read_flexbuffer(data)
