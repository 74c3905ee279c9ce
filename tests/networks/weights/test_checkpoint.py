"""Checkpoints as published and ours: what is read is what was written, and a network of it is the same network."""

from __future__ import annotations

import argparse
import hashlib
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch

from fsgan_core.contract.errors import OutputError, WeightsError
from fsgan_core.networks.architectures.build import build_network
from fsgan_core.networks.weights.checkpoint import (
    Checkpoint,
    export_checkpoint,
    load_network,
    read_checkpoint,
    write_checkpoint,
)
from tests.networks.conftest import SMALL, publish, small_state


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(tensor, other[name]) for name, tensor in one.items())


class TestRead:
    @pytest.mark.parametrize("legacy", [False, True])
    @pytest.mark.parametrize("name", ["a.pth", "a.pth.tar", "a.pkl", "a"])
    def test_published(self, tmp_path: Path, legacy: bool, name: str) -> None:
        state = small_state()
        torch.save({"arch": SMALL, "state_dict": state}, tmp_path / name, _use_new_zipfile_serialization=not legacy)
        found = read_checkpoint(tmp_path / name)
        assert found.arch == SMALL and found.metadata == {} and found.path == tmp_path / name
        assert same(found.state, state)

    @pytest.mark.parametrize("legacy", [False, True])
    def test_leftovers_of_training(self, tmp_path: Path, legacy: bool) -> None:
        """As the published files carry them: an optimizer, numbers of numpy, options."""
        network = build_network(SMALL)
        adam = {
            "state": {
                place: {"step": 9, "exp_avg": torch.zeros_like(parameter)}
                for place, parameter in enumerate(network.parameters())
            },
            "param_groups": [{"lr": 1e-4, "betas": (0.5, 0.999), "amsgrad": False, "params": [0, 1, 2]}],
        }
        torch.save(
            {
                "resolution": 256,
                "epoch": 50,
                "arch": SMALL,
                "state_dict": network.state_dict(),
                "optimizer": adam,
                "best_loss": np.float64(0.5),
                "losses": np.arange(3.0),
                "options": argparse.Namespace(gpus=[0], name="x"),
            },
            tmp_path / "a.pth",
            _use_new_zipfile_serialization=not legacy,
        )
        assert same(read_checkpoint(tmp_path / "a.pth").state, dict(network.state_dict()))

    def test_state_alone(self, tmp_path: Path) -> None:
        state = small_state()
        torch.save(state, tmp_path / "a.pth")
        found = read_checkpoint(tmp_path / "a.pth")
        assert found.arch == "" and same(found.state, state)
        with pytest.raises(WeightsError, match="fsgan weights import"):
            load_network(found)

    def test_of_several_gpus(self, tmp_path: Path) -> None:
        state = small_state()
        torch.save(
            {"arch": SMALL, "state_dict": {f"module.{name}": tensor for name, tensor in state.items()}},
            tmp_path / "a.pth",
        )
        assert same(read_checkpoint(tmp_path / "a.pth").state, state)

    def test_parameters(self, tmp_path: Path) -> None:
        torch.save({"a": torch.nn.Parameter(torch.ones(3))}, tmp_path / "a.pth")
        found = read_checkpoint(tmp_path / "a.pth").state["a"]
        assert torch.equal(found, torch.ones(3)) and not found.requires_grad

    def test_told_by_content_not_by_name(self, tmp_path: Path) -> None:
        write_checkpoint(tmp_path / "a.pth", SMALL, small_state(), {"role": "inpaint"})
        publish(tmp_path / "b.safetensors")
        assert read_checkpoint(tmp_path / "a.pth").metadata == {"role": "inpaint"}
        assert read_checkpoint(tmp_path / "b.safetensors").arch == SMALL

    def test_from_many_threads(self, tmp_path: Path) -> None:
        path = publish(tmp_path / "a.pth", best_loss=np.float64(1.0))
        trouble: list[BaseException] = []

        def read() -> None:
            try:
                read_checkpoint(path)
            except BaseException as error:
                trouble.append(error)

        threads = [threading.Thread(target=read) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not trouble

    def test_allows_nothing_for_later(self, tmp_path: Path) -> None:
        """The names that leftovers are let through by are not let through afterwards."""

        def allowed() -> set[str]:
            return set(map(str, torch.serialization.get_safe_globals()))

        path = publish(tmp_path / "a.pth")
        before = allowed()
        read_checkpoint(path)
        assert allowed() == before


class TestWrite:
    def test_round_trip(self, tmp_path: Path) -> None:
        state = {
            **small_state(),
            "half": torch.ones(3, dtype=torch.float16),
            "wide": torch.ones(2, 2).double(),
            "brain": torch.ones(5, dtype=torch.bfloat16),
            "count": torch.tensor(7),
            "none": torch.zeros(0, 3),
        }
        write_checkpoint(tmp_path / "a.safetensors", SMALL, state, {"name": 'größe \n"x"'})
        found = read_checkpoint(tmp_path / "a.safetensors")
        assert found.arch == SMALL and found.metadata == {"name": 'größe \n"x"'}
        assert same(found.state, state)
        assert all(found.state[name].dtype == tensor.dtype for name, tensor in state.items())

    def test_others_can_read_it(self, tmp_path: Path) -> None:
        state = small_state()
        write_checkpoint(tmp_path / "a.safetensors", SMALL, state)
        assert same(safetensors.torch.load_file(tmp_path / "a.safetensors"), state)

    def test_what_others_wrote(self, tmp_path: Path) -> None:
        state = small_state()
        safetensors.torch.save_file(state, tmp_path / "a.safetensors", {"arch": SMALL, "x": "1"})
        found = read_checkpoint(tmp_path / "a.safetensors")
        assert found.arch == SMALL and found.metadata == {"x": "1"} and same(found.state, state)

    def test_same_bytes_in_every_process(self, tmp_path: Path) -> None:
        """Else two machines that import the same file would key their frames differently."""
        write_checkpoint(
            tmp_path / "a.safetensors",
            "x",
            {"b": torch.ones(2), "a": torch.zeros(3)},
            {name: name for name in "qwertzuiop"},
        )
        script = (
            "import sys, torch; from fsgan_core.networks.weights.checkpoint import write_checkpoint; write_checkpoint("
            "sys.argv[1], 'x', {'a': torch.zeros(3), 'b': torch.ones(2)}, {n: n for n in 'poiuztrewq'})"
        )
        subprocess.run(
            [sys.executable, "-c", script, str(tmp_path / "b.safetensors")], check=True, cwd=Path(__file__).parents[3]
        )
        assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()

    def test_shared_and_turned_tensors(self, tmp_path: Path) -> None:
        whole = torch.arange(12.0).reshape(3, 4)
        write_checkpoint(tmp_path / "a.safetensors", "x", {"a": whole, "b": whole, "turned": whole.T})
        found = read_checkpoint(tmp_path / "a.safetensors").state
        assert torch.equal(found["b"], whole) and torch.equal(found["turned"], whole.T)

    def test_nothing_half_written(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        write_checkpoint(tmp_path / "a.safetensors", "x", {"a": torch.ones(1)})
        before = (tmp_path / "a.safetensors").read_bytes()

        def full(*_: object) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("os.fsync", full)
        with pytest.raises(OutputError, match="disk is full"):
            write_checkpoint(tmp_path / "a.safetensors", "x", {"a": torch.zeros(1)})
        assert (tmp_path / "a.safetensors").read_bytes() == before
        assert [path.name for path in tmp_path.iterdir()] == ["a.safetensors"]

    def test_leaves_the_tensors(self, tmp_path: Path) -> None:
        network = build_network(SMALL)
        before = hashlib.sha256(b"".join(t.detach().numpy().tobytes() for t in network.state_dict().values())).digest()
        write_checkpoint(tmp_path / "a.safetensors", SMALL, network.state_dict())
        after = hashlib.sha256(b"".join(t.detach().numpy().tobytes() for t in network.state_dict().values())).digest()
        assert before == after and all(parameter.requires_grad for parameter in network.parameters())


class TestLoad:
    @pytest.mark.parametrize("form", ["a.pth", "a.safetensors"])
    def test_the_same_network(self, tmp_path: Path, form: str) -> None:
        torch.manual_seed(1)
        network = build_network(SMALL).eval()
        torch.save({"arch": SMALL, "state_dict": network.state_dict()}, tmp_path / "a.pth")
        export_checkpoint(tmp_path / "a.pth", tmp_path / "a.safetensors")
        loaded = load_network(tmp_path / form)
        x = torch.randn(1, 4, 32, 32)
        with torch.inference_mode():
            assert torch.equal(loaded(x), network(x))
        assert not loaded.training and not any(parameter.requires_grad for parameter in loaded.parameters())

    @pytest.mark.parametrize(
        "arch",
        [
            "simple_unet_02.UNet(feature_scale=16)",
            "hopenet.Hopenet()",
            "hrnet.hrnet_wlfw()",
            "res_unet_split.MultiScaleResUNet(in_nc=5,flat_layers=(0,1),ngf=2,max_nc=8)",
        ],
    )
    def test_every_family_is_whole(self, arch: str) -> None:
        loaded = load_network(Checkpoint(arch, small_state(arch)))
        tensors = (*loaded.parameters(), *loaded.buffers())
        assert tensors and not any(tensor.is_meta for tensor in tensors)

    def test_half_becomes_float(self) -> None:
        state = {
            name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in small_state().items()
        }
        assert all(
            parameter.dtype == torch.float32 for parameter in load_network(Checkpoint(SMALL, state)).parameters()
        )

    def test_from_before_batch_counters(self) -> None:
        """torch 0.4 and before knew none."""
        state = {name: tensor for name, tensor in small_state().items() if not name.endswith("num_batches_tracked")}
        loaded = load_network(Checkpoint(SMALL, state))
        assert not any(tensor.is_meta for tensor in loaded.buffers())

    def test_draws_no_random_numbers(self, tmp_path: Path) -> None:
        checkpoint = Checkpoint(SMALL, small_state())
        torch.manual_seed(3)
        before = torch.get_rng_state()
        load_network(checkpoint)
        assert torch.equal(torch.get_rng_state(), before)


class TestExport:
    def test_pth_in_the_published_form(self, tmp_path: Path) -> None:
        write_checkpoint(tmp_path / "a.safetensors", SMALL, small_state(), {"role": "inpaint"})
        export_checkpoint(tmp_path / "a.safetensors", tmp_path / "b.pth")
        found = torch.load(tmp_path / "b.pth", weights_only=True)
        assert set(found) == {"arch", "state_dict"} and found["arch"] == SMALL

    def test_refuses_other_endings(self, tmp_path: Path) -> None:
        publish(tmp_path / "a.pth")
        with pytest.raises(WeightsError, match=r"safetensors"):
            export_checkpoint(tmp_path / "a.pth", tmp_path / "b.onnx")
