"""Training on many people: networks learn, and give the same result after a kill and in two processes."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from fsgan_core.contract.errors import InputError  # noqa: E402
from fsgan_core.contract.stage_graph import NETWORK_STAGES  # noqa: E402
from fsgan_core.training.data.dataset import FaceDataset  # noqa: E402
from fsgan_core.training.losses import LossWeights  # noqa: E402
from fsgan_core.training.plan import TrainingPhase, TrainingPlan  # noqa: E402
from fsgan_core.training.run_state import STATE_FILE, load_state  # noqa: E402
from fsgan_core.training.train_loop import TrainedGenerator, choose_losses, train_generator  # noqa: E402
from fsgan_core.training.trainer import build_seeded_network  # noqa: E402
from tests.training.conftest import save_crowd  # noqa: E402

ROOT = Path(__file__).parents[2]
RES_UNET = "res_unet.MultiScaleResUNet(in_nc={},out_nc=3,flat_layers=(1,1,1),ngf=4)"
ARCHS = {
    "reenact": "retouch.RetouchUNet(in_nc=71,ngf=4,levels=3,max_nc=16)",
    "mask": "simple_unet_02.UNet(num_classes=3,feature_scale=16)",
    "inpaint": RES_UNET.format(4),
    "blend": RES_UNET.format(7),
}
HELD = "cleo"


def plan_of(network: str, iterations: int = 8, **changes: object) -> TrainingPlan:
    losses = LossWeights(entropy=1.0) if network == "mask" else LossWeights(pyramid=1.0, features=0.2, gan=0.01)
    plan = TrainingPlan(
        network,
        ARCHS[network],
        (TrainingPhase(64, 2, 3e-3, iterations=iterations),),
        losses,
        landmarks=68,
        prewarp=network == "reenact",
        focus=network == "reenact",
        precision="fp32",
        average=0.5,
        every=4,
        trials=4,
        validation=(HELD,),
    )
    return replace(plan, **changes)  # type: ignore[arg-type]


def run(crowd: FaceDataset, plan: TrainingPlan, folder: Path, **options: object) -> TrainedGenerator:
    return train_generator(
        crowd.faces,
        crowd.people,
        crowd.people == HELD,
        build_seeded_network(plan.arch, plan.seed),
        plan,
        folder=folder,
        key="key",
        **options,
    )  # type: ignore[arg-type]


def same(a: Mapping[str, torch.Tensor], b: Mapping[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


class Watched:
    def __init__(self) -> None:
        self.values: dict[str, list[int]] = {}
        self.pictures: list[np.ndarray] = []

    def write_scalars(self, step: int, values: Mapping[str, float]) -> None:
        for name in values:
            self.values.setdefault(name, []).append(step)

    def write_picture_grid(self, step: int, picture: np.ndarray) -> None:
        self.pictures.append(picture)


@pytest.mark.parametrize("network", NETWORK_STAGES)
def test_learning_applies_to_held_out_people(crowd: FaceDataset, tmp_path: Path, network: str) -> None:
    watched = Watched()
    plan = plan_of(network, 24, every=12)
    if network == "reenact":  # the retouching one begins with the warped view, which is right already in these faces
        plan = replace(plan, arch=RES_UNET.format(71))
    found = run(crowd, plan, tmp_path, curve_writer=watched)
    assert [check.step for check in found.validations] == [0, 12, 24] and len(found.losses) == 24
    assert found.validations[-1].loss < 0.9 * found.validations[0].loss
    assert found.best_validation.loss == min(check.loss for check in found.validations)
    assert same(found.best, found.last) == (found.best_validation.step == 24)
    assert watched.values["validation/loss"] == [0, 12, 24] and watched.values["train/total"] == [10, 20]
    columns = {"reenact": 3, "mask": 3, "inpaint": 3, "blend": 4}[network]
    assert watched.pictures[0].shape == (4 * 64, columns * 64, 3) and watched.pictures[0].std() > 10


@pytest.fixture(scope="module")
def killed(crowd: FaceDataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the state of a run of each network that was killed with SIGKILL after seven of eight iterations."""
    folder = tmp_path_factory.mktemp("killed")
    save_crowd(folder / "faces", crowd)
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(folder), *NETWORK_STAGES],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [str(signal.SIGKILL.value)] * len(NETWORK_STAGES), done.stderr
    return folder


@pytest.mark.parametrize("network", NETWORK_STAGES)
def test_killed_run_continues_with_the_same_result(
    crowd: FaceDataset, killed: Path, tmp_path: Path, network: str
) -> None:
    """The state was saved after six of them."""
    state = load_state(killed / network / STATE_FILE, "key")
    assert state is not None and state.step == 6 and len(state.facts["checks"]) == 2

    plan = plan_of(network)
    resumed, whole = run(crowd, plan, killed / network), run(crowd, plan, tmp_path / "whole")
    assert resumed.resumed_iterations == 6 and whole.resumed_iterations == 0
    assert same(resumed.last, whole.last) and same(resumed.best, whole.best)
    assert np.array_equal(resumed.losses, whole.losses) and resumed.validations == whole.validations
    ends = [load_state(folder / STATE_FILE, "key") for folder in (killed / network, tmp_path / "whole")]
    assert ends[0] is not None and ends[1] is not None
    assert same(ends[0].tensors, ends[1].tensors), "the discriminator, the optimizers and the average too"


KILLED = """
import os, pathlib, signal, sys
import torch
torch.set_num_threads(1)
from fsgan_core.training.data.dataset import load_dataset
from tests.training.test_train import plan_of, run
def listen(done, total, loss):
    if done == 7:
        os.kill(os.getpid(), signal.SIGKILL)
folder = pathlib.Path(sys.argv[1])
for network in sys.argv[2:]:
    child = os.fork()
    if not child:
        run(load_dataset(folder / "faces"), plan_of(network), folder / network, save_every=6, on_progress=listen)
        os._exit(0)
    print(os.WTERMSIG(os.waitpid(child, 0)[1]), flush=True)
"""


def test_two_processes_have_the_losses_of_one(crowd: FaceDataset, tmp_path: Path) -> None:
    """With torchrun's variables and gloo, the losses are those of one process, within rounding."""
    save_crowd(tmp_path / "faces", crowd)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    world = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2", "OMP_NUM_THREADS": "1"}
    both = [
        subprocess.Popen(
            [sys.executable, "-c", SHARED, str(tmp_path), str(rank)],
            text=True,
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, **world, "RANK": str(rank), "LOCAL_RANK": str(rank)},
        )
        for rank in range(2)
    ]
    said = [process.communicate(timeout=120) for process in both]
    assert all(process.returncode == 0 for process in both), said
    assert not any("Warning" in told for _, told in said), said
    alone = run(crowd, plan_of("reenact", 4), tmp_path / "alone")
    losses = [np.array(eval(out.strip().splitlines()[-1])) for out, _ in said]
    assert np.allclose(losses[0], losses[1], rtol=1e-6), "every process tells the loss of all"
    assert np.allclose(losses[0], alone.losses, rtol=1e-3)
    assert (tmp_path / STATE_FILE).is_file()


SHARED = """
import pathlib, sys
import torch
torch.set_num_threads(1)
from fsgan_core.training.data.dataset import load_dataset
from fsgan_core.training.parallel import join_world, leave_world
from tests.training.test_train import plan_of, run
folder = pathlib.Path(sys.argv[1])
result = run(load_dataset(folder / "faces"), plan_of("reenact", 4), folder, world=join_world("cpu"))
print(result.losses.tolist())
leave_world()
"""


def test_phases_follow_one_another(crowd: FaceDataset, tmp_path: Path) -> None:
    """The resolution grows, the rates change, and the best weights are of the last resolution."""
    phases = (TrainingPhase(32, 2, 1e-3, iterations=3), TrainingPhase(64, 1, 2e-3, epochs=0.25, halve=0.1))
    plan = plan_of("reenact", phases=phases, every=3)
    assert phases[1].count_iterations(12) == 3 and [phases[1].compute_rate_factor(step, 12) for step in range(3)] == [
        1,
        1,
        0.5,
    ]
    watched = Watched()
    found = run(crowd, plan, tmp_path, curve_writer=watched)
    assert len(found.losses) == 6
    assert [picture.shape[0] // 4 for picture in watched.pictures] == [32, 32, 64]
    assert found.best_validation == found.validations[-1] and same(found.best, found.last)
    with pytest.raises(InputError, match="--resolution"):
        run(crowd, plan_of("reenact", phases=(TrainingPhase(96, 2, 1e-3, iterations=1),)), tmp_path / "more")


def test_batches_do_not_depend_on_the_number_of_processes(crowd: FaceDataset, tmp_path: Path) -> None:
    """Processes make the same batches in the same order as a thread."""
    plan = plan_of("reenact", iterations=5)
    alone, helped = run(crowd, plan, tmp_path / "a"), run(crowd, plan, tmp_path / "b", workers=2)
    assert same(alone.last, helped.last) and np.array_equal(alone.losses, helped.losses)


def test_time_limit(crowd: FaceDataset, tmp_path: Path) -> None:
    plan = plan_of("reenact", 3)
    first = run(crowd, plan, tmp_path, time_limit=1e-3)
    assert len(first.losses) == 1
    assert len(run(crowd, plan, tmp_path).losses) == 3


def test_losses_without_a_vgg(caplog: pytest.LogCaptureFixture) -> None:
    plan = plan_of("reenact", losses=LossWeights.make_published(), without_vgg=LossWeights.make_without_vgg())
    assert choose_losses(plan, {}) == LossWeights.make_without_vgg() and "identity, attributes" in caplog.text
    vggs = {role: lambda x: [x] for role in ("identity", "attributes")}
    assert choose_losses(plan, vggs) == LossWeights.make_published()
