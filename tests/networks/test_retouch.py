"""The small reenactment network: it begins near what it is shown, and says what it has redrawn."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from fsgan_core.networks import build  # noqa: E402
from fsgan_core.networks.inference import Runner  # noqa: E402
from fsgan_core.networks.retouch import RetouchUNet  # noqa: E402

ARCH = "retouch.RetouchUNet(in_nc=71,ngf=4,levels=3,max_nc=16)"


@pytest.fixture
def network() -> RetouchUNet:
    torch.manual_seed(1)
    made = build(ARCH)
    assert isinstance(made, RetouchUNet)
    return made


def given(size: int = 32) -> torch.Tensor:
    torch.manual_seed(2)
    return torch.cat([torch.rand(2, 3, size, size) * 2 - 1, torch.rand(2, 68, size, size)], 1)


def test_shapes_and_ranges(network: RetouchUNet) -> None:
    picture, share = network(given())
    assert picture.shape == (2, 3, 32, 32) and share.shape == (2, 1, 32, 32)
    assert share.min() > 0 and share.max() < 1
    assert sum(parameter.numel() for parameter in build("retouch.RetouchUNet(in_nc=71,ngf=8)").parameters()) < 2e6


def test_begins_near_the_view(network: RetouchUNet) -> None:
    """Untrained, it changes little: the worst that it can do to a swap is small from the first step on."""
    batch = given()
    picture, share = network(batch)
    assert share.mean() < 0.25 and (picture - batch[:, :3]).abs().mean() < 0.15


def test_every_part_learns(network: RetouchUNet) -> None:
    network(given())[0].square().mean().backward()
    still = {name for name, parameter in network.named_parameters() if parameter.grad is None}
    assert not still
    network.light.weight.data.normal_()
    picture, _ = network(given())
    assert picture.abs().max() <= 1.5, "light may go half a range beyond"


def test_runs_as_the_engines_run_it(network: RetouchUNet) -> None:
    batch = given()
    network.eval()
    with torch.no_grad():
        wanted = network(batch)
    answer = Runner(build(ARCH), "cpu", "fp32").run(batch)
    assert isinstance(answer, tuple) and [tuple(one.shape) for one in answer] == [tuple(one.shape) for one in wanted]
