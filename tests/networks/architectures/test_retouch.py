"""The small reenactment network: it begins near what it is shown, and says what it has redrawn."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from fsgan_core.networks.architectures.build import build_network  # noqa: E402
from fsgan_core.networks.architectures.retouch import RetouchUNet  # noqa: E402
from fsgan_core.networks.inference import Runner  # noqa: E402

ARCH = "retouch.RetouchUNet(in_nc=71,ngf=4,levels=3,max_nc=16)"


@pytest.fixture
def network() -> RetouchUNet:
    torch.manual_seed(1)
    made = build_network(ARCH)
    assert isinstance(made, RetouchUNet)
    return made


def given(size: int = 32) -> torch.Tensor:
    torch.manual_seed(2)
    return torch.cat([torch.rand(2, 3, size, size) * 2 - 1, torch.rand(2, 68, size, size)], 1)


def test_shapes_and_ranges(network: RetouchUNet) -> None:
    network.added.weight.data.normal_()
    picture, share = network(given())
    assert picture.shape == (2, 3, 32, 32) and share.shape == (2, 1, 32, 32)
    assert share.min() >= 0 and 0.1 < share.max() <= 1
    assert (
        sum(parameter.numel() for parameter in build_network("retouch.RetouchUNet(in_nc=71,ngf=8)").parameters()) < 2e6
    )


def test_begins_as_the_view(network: RetouchUNet) -> None:
    """Untrained it changes nothing, so from the first step on it can only be as bad as it has learned to be."""
    batch = given()
    picture, share = network(batch)
    assert torch.equal(picture, batch[:, :3]) and not share.any()


def test_what_is_redrawn_is_what_is_finer_than_light(network: RetouchUNet) -> None:
    batch = given(128)
    network.added.bias.data.fill_(0.3)
    picture, share = network(batch)
    inside = (slice(None), slice(None), slice(8, -8), slice(8, -8))
    assert (picture - batch[:, :3]).mean() > 0.2 and share[inside].max() < 0.01, "lighter all over"
    network.added.bias.data.zero_()
    network.added.weight.data.normal_(0, 0.3)
    assert network(batch)[1].mean() > 0.3


def test_every_part_learns(network: RetouchUNet) -> None:
    for head in (network.light, network.added):
        head.weight.data.normal_()
    picture, _ = network(given())
    picture.square().mean().backward()
    still = {
        name for name, parameter in network.named_parameters() if parameter.grad is None or not parameter.grad.any()
    }
    assert {name.rpartition(".")[0].rpartition(".")[2] for name in still} <= {"conv1"}, "until conv2 is no longer 0"
    assert picture.abs().max() <= 2.5, "the view, a whole range more and light half of one"


def test_learns(network: RetouchUNet) -> None:
    """What nobody can see in the view, but in the heat maps: where something is to be drawn."""
    torch.manual_seed(3)
    optimizer = torch.optim.Adam(network.parameters(), 3e-3, (0.5, 0.999))
    views = torch.rand(4, 3, 1, 1) * torch.ones(4, 3, 32, 32) - 0.5
    maps = torch.zeros(4, 68, 32, 32)
    for k, column in enumerate((6, 12, 18, 24)):
        maps[k, 30, 12:20, column - 3 : column + 3] = 1
    wanted = views + 0.5 * maps[:, 30:31]
    losses = []
    for _ in range(120):
        loss = (network(torch.cat([views, maps], 1))[0] - wanted).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.4 * losses[0]


def test_runs_as_the_engines_run_it(network: RetouchUNet) -> None:
    batch = given()
    network.eval()
    with torch.no_grad():
        wanted = network(batch)
    answer = Runner(build_network(ARCH), "cpu", "fp32").run(batch)
    assert isinstance(answer, tuple) and [tuple(one.shape) for one in answer] == [tuple(one.shape) for one in wanted]
