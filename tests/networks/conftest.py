"""Weights folders of a test's own, and small networks in the published format."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

SMALL = "res_unet.MultiScaleResUNet(in_nc=4,out_nc=3,flat_layers=(0,1),ngf=2,max_nc=16)"


@pytest.fixture(autouse=True)
def own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """No test sees or changes what this user has: the folder of weights, $FSGAN_WEIGHTS, that it gets instead."""
    from fsgan_core.networks.weights import digests

    folder = tmp_path / "weights"
    monkeypatch.setenv("FSGAN_WEIGHTS", str(folder))
    monkeypatch.setenv("FSGAN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.delenv("FSGAN_WEIGHTS_ALLOW", raising=False)
    monkeypatch.setattr(digests, "_known_digests", {})
    yield folder


def small_state(arch: str = SMALL) -> dict[str, torch.Tensor]:
    """The tensors of a small network."""
    from fsgan_core.networks.architectures.build import build_network

    return dict(build_network(arch).state_dict())


def publish(path: Path, arch: str = SMALL, *, legacy: bool = False, **more: object) -> Path:
    """A file as the authors publish it."""
    from fsgan_core.networks.architectures.build import format_published

    torch.save(
        {"arch": format_published(arch), "state_dict": small_state(arch), **more},
        path,
        _use_new_zipfile_serialization=not legacy,
    )
    return path


def blank_state(arch: str) -> dict[str, torch.Tensor]:
    """Tensors of a large network, all zero: quickly made."""
    from fsgan_core.networks.architectures.build import build_network

    return {
        name: torch.zeros(tensor.shape, dtype=tensor.dtype)
        for name, tensor in build_network(arch, device="meta").state_dict().items()
    }
