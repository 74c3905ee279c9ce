"""Running networks: the numbers of plain float32, the same bits in any company, and what happens without memory."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from fsgan_core.contract.errors import MachineError, ParameterError
from fsgan_core.networks import inference
from fsgan_core.networks.fold import fold_batch_norm
from fsgan_core.networks.inference import get_runner, make_runner, resolve_precision
from fsgan_core.networks.weights.catalogue import WeightsInfo
from fsgan_core.networks.weights.installed import InstalledWeights
from fsgan_core.runtime.memory import clear_caches
from tests.networks.conftest import SMALL, small_state
from tests.patterns import image, patterned

GENERATOR = "res_unet.MultiScaleResUNet(in_nc=7,out_nc=3,flat_layers=(1,1,1),ngf=8)"
SPLIT = "res_unet_split.MultiScaleResUNet(in_nc=71,out_nc=(3,3),flat_layers=(1,0,1),ngf=8)"
SEGMENTATION = "simple_unet.UNet(n_classes=3,feature_scale=8)"
CASES = {GENERATOR: 7, SPLIT: 71, SEGMENTATION: 3}


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    """The number of threads and the loaded runners are the process's."""
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)
    clear_caches()


def given(arch: str, count: int = 1, size: int = 64) -> Tensor:
    return torch.from_numpy(image((count, CASES[arch], size, size)))


def parts(answer: Tensor | tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return answer if isinstance(answer, tuple) else (answer,)


class TestFold:
    @pytest.mark.parametrize("arch", [*CASES, "hrnet.hrnet_wlfw()", "hopenet.Hopenet()"])
    def test_numbers(self, arch: str) -> None:
        network = patterned(arch)
        x = torch.from_numpy(image((1, CASES.get(arch, 3), 64, 64)))
        with torch.inference_mode():
            truth = parts(network(x))
            ready = fold_batch_norm(network)
            answer = parts(ready(x))
        assert not [module for module in ready.modules() if isinstance(module, nn.BatchNorm2d)]
        for one, other in zip(answer, truth, strict=True):
            assert (one - other).abs().max() <= 1e-4 * other.std()

    def test_norm_of_what_is_used_twice_stays(self) -> None:
        class Twice(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.conv = nn.Conv2d(3, 4, 3)
                self.norm = nn.BatchNorm2d(4)

            def forward(self, x: Tensor) -> Tensor:
                y = self.conv(x)
                return y - self.norm(y)

        network = Twice()
        network.norm.running_mean = torch.tensor([0.1, 0.2, 0.3, 0.4])
        network.eval()
        x = torch.from_numpy(image((1, 3, 16, 16)))
        with torch.inference_mode():
            truth = network(x)
            assert torch.equal(fold_batch_norm(network)(x), truth)


class TestPrecision:
    def test_resolved(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True})
        assert [resolve_precision("cpu", name) for name in ("auto", "fp32", "bf16", "fp16")] == [
            "bf16",
            "fp32",
            "bf16",
            "fp32",
        ]
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx2": True})
        assert resolve_precision("cpu") == "fp32"

    @pytest.mark.parametrize(
        ("capability", "wanted"), [((9, 0), "bf16"), ((8, 0), "bf16"), ((7, 5), "fp16"), ((6, 1), "fp32")]
    )
    def test_resolved_on_cards(self, monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int], wanted: str) -> None:
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
        assert resolve_precision("cuda:0") == wanted

    def test_unknown(self) -> None:
        with pytest.raises(ParameterError, match="int8"):
            resolve_precision("cpu", "int8")

    @pytest.mark.parametrize("arch", CASES)
    def test_float32_is_the_plain_network(self, arch: str) -> None:
        network, x = patterned(arch), given(arch, 2)
        with torch.inference_mode():
            truth = parts(network(x))
        for one, other in zip(parts(make_runner(network, "cpu", "fp32").run(x)), truth, strict=True):
            assert one.dtype == torch.float32
            assert one.is_contiguous()
            assert (one - other).abs().max() <= 1e-4 * other.std()

    def test_bfloat16_on_a_real_picture(self, astronaut: np.ndarray) -> None:
        picture = torch.from_numpy(astronaut[80:208, 160:288].astype(np.float32) / 127.5 - 1).permute(2, 0, 1)
        x = torch.cat([picture, picture.flip(2), torch.ones(1, 128, 128)])[None]
        network = patterned(GENERATOR)
        with torch.inference_mode():
            truth = network(x)
        error = (make_runner(network, "cpu", "bf16").run(x) - truth).square().mean()
        assert 10 * torch.log10(4 / error) >= 40

    def test_the_given_network_is_left_alone(self) -> None:
        network = patterned(SEGMENTATION).train()
        before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
        make_runner(network, "cpu", "bf16").run(given(SEGMENTATION))
        after = network.state_dict()
        assert network.training
        assert all(torch.equal(after[name], tensor) for name, tensor in before.items())


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
class TestBits:
    @pytest.mark.parametrize("arch", CASES)
    def test_any_company(self, arch: str, precision: str) -> None:
        runner, x = make_runner(patterned(arch), "cpu", precision), given(arch, 5)
        together = parts(runner.run(x))
        for number in (0, 2, 4):
            for output, alone in zip(together, parts(runner.run(x[number : number + 1])), strict=True):
                assert torch.equal(output[number : number + 1], alone)
        assert torch.equal(parts(runner.run(x[[2, 0]]))[0][0], together[0][2])

    @pytest.mark.parametrize("arch", CASES)
    def test_any_number_of_threads(self, arch: str, precision: str) -> None:
        runner, x = make_runner(patterned(arch), "cpu", precision), given(arch)
        answers = []
        for threads in (1, 2, 3, 8):
            torch.set_num_threads(threads)
            answers.append(parts(runner.run(x)))
            assert torch.get_num_threads() == threads
        assert all(torch.equal(one, other) for answer in answers for one, other in zip(answer, answers[0], strict=True))

    def test_any_layout(self, precision: str) -> None:
        runner, x = make_runner(patterned(GENERATOR), "cpu", precision), given(GENERATOR)
        other = x.contiguous(memory_format=torch.channels_last)
        assert torch.equal(runner.run(x), runner.run(other))

    def test_threads_of_the_caller(self, precision: str) -> None:
        runner, x = make_runner(patterned(SEGMENTATION), "cpu", precision), given(SEGMENTATION, 4)
        alone = runner.run(x)
        got: dict[int, Tensor] = {}
        workers = [threading.Thread(target=lambda n=n: got.update({n: runner.run(x[n : n + 1])})) for n in range(4)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        assert all(torch.equal(got[number], alone[number : number + 1]) for number in range(4))


class Fake(nn.Module):
    """Doubles; remembers the sizes of its batches; has memory for `room` samples."""

    def __init__(self, room: int = 100, mixes: bool = False) -> None:
        super().__init__()
        self.room = room
        self.mixes = mixes
        self.sizes: list[int] = []

    def forward(self, x: Tensor) -> Tensor:
        if isinstance(x, torch.fx.Proxy):
            raise TypeError("not to be traced")
        self.sizes.append(len(x))
        if len(x) > self.room:
            raise torch.OutOfMemoryError("a card's memory")
        return x * 2 + (x.mean() if self.mixes else 0)


def batched(fake: Fake, device: str = "cpu") -> inference.Runner:
    """A runner that runs batches, as on a card."""
    runner = inference.Runner(fake, device, "fp32")
    runner._max_samples = 8
    return runner


class TestBatches:
    x = torch.arange(7.0).reshape(7, 1, 1, 1).expand(7, 1, 2, 2)

    def test_larger_ones_where_bits_are_equal(self) -> None:
        fake = Fake()
        runner = batched(fake)
        assert torch.equal(runner.run(self.x), self.x * 2)
        assert fake.sizes == [4, 1, 1, 1, 1, 2, 1, 1, 1]  # each size is judged once
        fake.sizes.clear()
        assert torch.equal(runner.run(self.x), self.x * 2)
        assert fake.sizes == [4, 2, 1]

    def test_never_where_they_are_not(self) -> None:
        fake = Fake(mixes=True)
        runner = batched(fake)
        for _ in range(2):
            fake.sizes.clear()
            assert torch.equal(runner.run(self.x), self.x * 3)
        assert set(fake.sizes) == {1}

    def test_out_of_memory_halves_and_says_so_once(self, caplog: pytest.LogCaptureFixture) -> None:
        fake = Fake(room=2)
        runner = batched(fake)
        with caplog.at_level(logging.WARNING):
            assert torch.equal(runner.run(self.x), self.x * 2)
            assert torch.equal(runner.run(self.x), self.x * 2)
        assert [record.message for record in caplog.records] == [
            "Fake: cpu has not enough memory for 4 pictures at once; at most 2 from now on"
        ]

    def test_then_the_cpu_once(self, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
        fake = Fake(room=0)
        runner = batched(fake)
        runner.device = "cuda:0"  # the fake stays where it is: only what the runner does is looked at
        monkeypatch.setattr(inference, "_release_memory", lambda device: setattr(fake, "room", 1))
        monkeypatch.setattr(runner, "_run_pass", lambda x: fake(x))
        with caplog.at_level(logging.WARNING):
            assert torch.equal(runner.run(self.x[:1]), self.x[:1] * 2)
            assert torch.equal(runner.run(self.x), self.x * 2)
        assert runner.device == "cpu"
        assert [record.message for record in caplog.records] == [
            "Fake: cuda:0 has not enough memory for one picture; it runs on the CPU from now on"
        ]

    def test_none_on_the_cpu(self) -> None:
        with pytest.raises(MachineError, match="not enough memory for a picture of 2 x 2 px"):
            make_runner(Fake(room=0), "cpu", "fp32").run(self.x)


class TestFramesShareAPass:
    """Threads at work on different frames, on a device that gains from batches."""

    def together(self, runner: inference.Runner, samples: list[Tensor]) -> list[object]:
        """What `run` gives (or raises) to a thread each, all of which wait before the first one's turn comes."""
        got: list[object] = [None] * len(samples)

        def ask(number: int) -> None:
            try:
                got[number] = runner.run(samples[number])
            except Exception as error:
                got[number] = error

        threads = [threading.Thread(target=ask, args=(number,)) for number in range(len(samples))]
        with inference._get_device_lock(runner.device):
            for count, thread in enumerate(threads, 1):
                thread.start()
                while len(runner._waiting_requests) < count:
                    time.sleep(0.001)
        for thread in threads:
            thread.join()
        assert runner._waiting_requests == []
        return got

    def test_the_same_answers_in_fewer_passes(self) -> None:
        fake = Fake()
        runner = batched(fake)
        samples = [torch.full((count, 1, 2, 2), float(number)) for number, count in enumerate((1, 2, 1))]
        for sizes in ([4, 1, 1, 1, 1], [4]):  # judged the first time
            fake.sizes.clear()
            got = self.together(runner, samples)
            assert fake.sizes == sizes
            assert all(isinstance(one, Tensor) and torch.equal(one, 2 * x) for one, x in zip(got, samples, strict=True))

    def test_only_the_same_shape_and_no_more_than_there_is_room_for(self) -> None:
        fake = Fake()
        runner = batched(fake)
        for size in (8, 4, 2):
            runner.run(torch.zeros(size, 1, 2, 2))  # judged
        fake.sizes.clear()
        samples = [torch.zeros(count, 1, side, side) for count, side in ((5, 2), (4, 2), (1, 4), (3, 2))]
        got = self.together(runner, samples)
        assert [len(one) for one in got if isinstance(one, Tensor)] == [5, 4, 1, 3]
        assert sum(fake.sizes) == 13
        assert len(fake.sizes) <= 6  # whoever's turn comes first: 8 + 4 + 1 or 4 + 2 + 1 + 4 + 1 + 1

    def test_all_outputs_of_a_network_with_heads(self) -> None:
        runner = make_runner(patterned(SPLIT), "cpu", "fp32")
        alone = [parts(runner.run(given(SPLIT)[..., shift : shift + 32, :32])) for shift in range(3)]
        runner._max_samples = 8
        got = self.together(runner, [given(SPLIT)[..., shift : shift + 32, :32] for shift in range(3)])
        for answer, truth in zip(got, alone, strict=True):
            assert isinstance(answer, tuple)
            assert all(torch.equal(one, other) for one, other in zip(answer, truth, strict=True))

    def test_a_failure_is_its_own(self, monkeypatch: pytest.MonkeyPatch) -> None:
        runner = batched(Fake())
        whole = runner._run_pass

        def broken(x: Tensor) -> inference.NetworkOutput:
            if (x == 1).any():
                raise ValueError("a sample of ones")
            return whole(x)

        monkeypatch.setattr(runner, "_run_pass", broken)
        got = self.together(runner, [torch.full((1, 1, 2, 2), float(number)) for number in range(3)])
        assert [type(one) for one in got] == [Tensor, ValueError, Tensor]

    def test_none_on_the_cpu(self) -> None:
        fake = Fake()
        got = self.together(inference.Runner(fake, "cpu", "fp32"), [torch.ones(1, 1, 2, 2)] * 3)
        assert fake.sizes == [1, 1, 1]
        assert all(isinstance(one, Tensor) for one in got)


class TestCompiled:
    def test_quietly_as_it_is_where_that_fails(
        self, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        def broken(network: nn.Module, **options: object) -> Callable[[Tensor], Tensor]:
            def call(x: Tensor) -> Tensor:
                raise RuntimeError("no compiler\nand a long story")

            return call

        monkeypatch.setattr(torch, "compile", broken)
        network, x = patterned(GENERATOR), given(GENERATOR)
        with caplog.at_level(logging.INFO):
            runner = make_runner(network, "cpu", "fp32", compiled=True)
            answers = [runner.run(x), runner.run(x)]
        assert torch.equal(answers[0], make_runner(network, "cpu", "fp32").run(x))
        assert torch.equal(answers[0], answers[1])
        assert [record.message for record in caplog.records] == ["MultiScaleResUNet is not compiled: no compiler"]


class TestRunnerFor:
    def installed(self, folder: Path, name: str) -> InstalledWeights:
        from fsgan_core.networks.weights.checkpoint import write_checkpoint

        path = folder / f"{name}.safetensors"
        write_checkpoint(path, SMALL, small_state())
        return InstalledWeights(WeightsInfo(name, "inpaint", arch=SMALL), path, sha256=name)

    def test_one_per_weights_device_and_precision(self, tmp_path: Path) -> None:
        entry = self.installed(tmp_path, "one")
        first = get_runner(entry, "cpu", "fp32")
        assert get_runner(entry, "cpu", "fp32") is first
        assert get_runner(entry, "cpu", "bf16") is not first
        assert (first.info, first.device, first.precision) == (entry.info, "cpu", "fp32")
        assert parts(first.run(torch.zeros(1, 4, 32, 32)))[0].shape == (1, 3, 32, 32)

    def test_only_the_last_used_are_kept(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(inference, "MAX_RUNNERS", 2)
        one, two, three = (self.installed(tmp_path, name) for name in ("one", "two", "three"))
        first, second = get_runner(one, "cpu", "fp32"), get_runner(two, "cpu", "fp32")
        assert get_runner(one, "cpu", "fp32") is first
        get_runner(three, "cpu", "fp32")
        assert get_runner(one, "cpu", "fp32") is first
        assert get_runner(two, "cpu", "fp32") is not second
