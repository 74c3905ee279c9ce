"""The networks on a GPU: the published numbers in float32, the same bits whatever the company, training that goes on.

Needs a CUDA device; everything else is proved on the CPU by the other tests.
"""

from __future__ import annotations

import threading

import numpy as np
import pytest
import torch

from fsgan_core.networks.architectures.res_unet import MultiScaleResUNet
from fsgan_core.networks.inference import Runner, make_runner, resolve_precision
from tests.networks.test_parity import CASES, CORNER, EXACT, PARITY, given, worst
from tests.patterns import image, patterned

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")

TOLERANCE = 1e-3  # of the output's standard deviation: sums in another order than the CPU's
GENERATOR = "res_unet.MultiScaleResUNet(in_nc=7,out_nc=3,flat_layers=(2,2,2,2),ngf=32)"


@pytest.mark.parametrize("name", ["segmentation_v2", "landmarks_wflw", "pose_hopenet", "vgg19_features"])
def test_published_numbers(name: str) -> None:
    case = np.load(PARITY / f"{name}.npz")
    runner = make_runner(patterned(CASES[name]["arch"]), "cuda:0", "fp32")
    outputs = given(runner.run(torch.from_numpy(image(tuple(CASES[name]["input_shape"])))))
    for index, output in enumerate(outputs):
        step = int(case[f"out{index}_stride"])
        seen = output.cpu()
        seen = seen[:, :16, ::step, ::step] if seen.ndim == 4 else seen
        assert worst(seen, case[f"out{index}"], float(case[f"out{index}_std"])) <= TOLERANCE


@pytest.mark.parametrize("name", ["reenactment_v2", "inpainting_v2", "blending_v2"])
def test_published_generators(name: str) -> None:
    case = np.load(PARITY / f"{name}.npz")
    whole = patterned(CASES[name]["arch"])
    assert isinstance(whole, MultiScaleResUNet)
    runner = make_runner(whole.base, "cuda:0", "fp32")
    (corner,) = given(runner.run(torch.from_numpy(image(tuple(CASES[name]["input_shape"]))[:, :, :CORNER, :CORNER])))
    step = int(case["out0_stride"])
    seen = corner.cpu()[:, :, :EXACT:step, :EXACT:step]
    wanted = case["out0"][:, :, : seen.shape[2], : seen.shape[3]]
    assert worst(seen, wanted, float(case["out0_std"])) <= TOLERANCE


class TestBits:
    @pytest.fixture(scope="class", params=["fp32", "bf16", "fp16"])
    def runner(self, request: pytest.FixtureRequest) -> Runner:
        return make_runner(patterned(GENERATOR), "cuda:0", request.param)

    def test_again_and_in_company(self, runner: Runner) -> None:
        x = torch.from_numpy(image((5, 7, 256, 256)))
        alone = [runner.run(one) for one in x.split(1)]
        for _ in range(3):  # the first judges the sizes, the others use what it found
            for one, other in zip(alone, runner.run(x).split(1), strict=True):  # type: ignore[union-attr]
                assert torch.equal(one, other)  # type: ignore[arg-type]

    def test_frames_in_threads(self, runner: Runner) -> None:
        x = torch.from_numpy(image((6, 7, 256, 256)))
        alone = [runner.run(one) for one in x.split(1)]
        found: dict[int, object] = {}

        def work(place: int) -> None:
            found[place] = runner.run(x[place : place + 1])

        threads = [threading.Thread(target=work, args=(place,)) for place in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert all(torch.equal(found[place], alone[place]) for place in range(6))  # type: ignore[arg-type]


def test_precision_is_the_devices() -> None:
    capability = torch.cuda.get_device_capability()
    assert resolve_precision("cuda:0") == (
        "bf16" if capability >= (8, 0) else "fp16" if capability >= (7, 0) else "fp32"
    )


def test_too_large_for_the_card() -> None:
    """What does not fit runs on the CPU, and says so."""
    network = torch.nn.Conv2d(1, 8, 3, padding=1)
    runner = make_runner(network, "cuda:0", "fp32")
    torch.cuda.set_per_process_memory_fraction(0.001)
    try:
        answer = runner.run(torch.zeros(1, 1, 4096, 4096))
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
        torch.cuda.empty_cache()
    assert runner.device == "cpu" and isinstance(answer, torch.Tensor) and answer.device.type == "cpu"
