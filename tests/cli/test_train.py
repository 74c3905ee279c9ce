"""`fsgan train`: from the command line to weights that a swap can use, and what it says when something is wrong."""

from __future__ import annotations

import json
import re
from pathlib import Path

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch")

from fsgan_core.cli import main  # noqa: E402
from fsgan_core.networks.weights.catalogue import read_weights_info  # noqa: E402
from fsgan_core.networks.weights.checkpoint import load_network, read_checkpoint  # noqa: E402
from fsgan_core.training.data.dataset import FaceDataset, load_dataset  # noqa: E402
from tests.training.conftest import FRAMES, clip, codec, crowd, faces, one_thread, quick, save_crowd, stills  # noqa: E402

__all__ = ["clip", "codec", "crowd", "faces", "one_thread", "quick", "stills"]  # fixtures

PLAN = """
network = "reenact"
arch = "retouch.RetouchUNet(in_nc=71,ngf=4,levels=3,max_nc=8)"
landmarks = 68
prewarp = true
every = 2
trials = 2
[[phases]]
resolution = 64
batch = 1
rate = 1e-3
iterations = 3
[losses]
pyramid = 1.0
"""


@pytest.fixture
def command(crowd: FaceDataset, tmp_path: Path) -> list[str]:
    save_crowd(tmp_path / "faces", crowd)
    (tmp_path / "plan.toml").write_text(PLAN)
    return [
        "train",
        "reenact",
        "--data",
        str(tmp_path / "faces"),
        "--plan",
        str(tmp_path / "plan.toml"),
        "-o",
        str(tmp_path / "gr.safetensors"),
        "--json",
        "-q",
        "--device",
        "cpu",
    ]


def said(capsys: pytest.CaptureFixture[str]) -> dict[str, object]:
    return json.loads(capsys.readouterr().out)  # type: ignore[no-any-return]


def test_weights_with_metadata(command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*command, "--half", "--no-curves"]) == 0
    facts = said(capsys)
    assert facts["iterations"] == facts["planned"] == 3 and facts["licence"] == "commercial"
    output = tmp_path / "gr.safetensors"
    weight = read_weights_info(output)
    assert (weight.role, weight.landmarks, weight.prewarp, weight.resolution) == ("reenact", 68, True, 64)
    checkpoint = read_checkpoint(output)
    assert {tensor.dtype for tensor in checkpoint.state.values()} == {torch.float16}
    assert json.loads(checkpoint.metadata["validation"])["loss"] == facts["best"]["loss"]  # type: ignore[index]
    assert load_network(output)(torch.zeros(1, 71, 64, 64))[0].shape == (1, 3, 64, 64)
    assert len(json.loads((tmp_path / "gr.safetensors.run" / "run.json").read_text())["losses"]) == 3
    assert main(command) == 0 and said(capsys)["state"] == "kept"
    assert main([*command, "--change", "average=0.5"]) == 2, "another plan is another result"


def test_stops_at_the_time_limit_and_continues(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With curves for TensorBoard, of both parts of the run."""
    pytest.importorskip("tensorboardX")
    assert main([*command, "--limit", "0.00001"]) == 0 and said(capsys)["iterations"] == 1
    assert main([*command, "--resume"]) == 0
    facts = said(capsys)
    assert facts["iterations"] == 3 and facts["resumed"] == 1
    # One file for each part; two that begin in the same second share a name.
    assert list((tmp_path / "gr.safetensors.run" / "curves").glob("events*"))


def test_starts_from_weights(command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*command, "--no-curves"]) == 0
    other = [
        part if part != command[command.index("-o") + 1] else str(tmp_path / "more.safetensors") for part in command
    ]
    start = ["--no-curves", "--start", str(tmp_path / "gr.safetensors")]
    assert main([*other, *start]) == 0
    capsys.readouterr()
    assert main([*other, *start, "--force", "--change", 'arch="retouch.RetouchUNet(in_nc=71,ngf=8)"']) == 2


@pytest.mark.parametrize(
    ("extra", "what"),
    [
        (["--resume"], "nothing|no run"),
        (["--change", "landmarks=98"], "--landmarks 98"),
        (["--change", "crop=2.0"], "--crop 2"),
        (["--change", "validation=['dora']"], "dora"),
        (["--change", "phases"], "NAME=VALUE"),
        (["-o", "weights.pth"], "safetensors"),
        (["--plan", "none.toml"], "none.toml"),
    ],
)
def test_wrong(command: list[str], extra: list[str], what: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*command, *extra]) == 2
    assert re.search(what, capsys.readouterr().out)


def test_picture_grid_is_written(tmp_path: Path) -> None:
    pytest.importorskip("tensorboardX")
    from fsgan_core.training.tensorboard import open_tensorboard

    board = open_tensorboard(tmp_path)
    assert board is not None
    board.write_scalars(1, {"a": 1.0})
    board.write_picture_grid(1, np.zeros((8, 8, 3), np.uint8))
    board.close()
    assert any(path.stat().st_size > 100 for path in tmp_path.iterdir())


def test_prepare_writes_missing_files(
    stills: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the command line, a track in the cache's place; a second run keeps, a clip without a face is told."""
    monkeypatch.setenv("FSGAN_CACHE", str(tmp_path / "cache"))
    cv2.imwrite(str(tmp_path / "grey.png"), np.full((64, 64, 3), 128, np.uint8))
    people = tmp_path / "people.csv"
    people.write_text("# who\nsource.####.png,anna\n")
    command = [
        "train",
        "prepare",
        str(stills / "source.####.png"),
        str(tmp_path / "grey.png"),
        "--people",
        str(people),
        "-o",
        str(tmp_path / "faces"),
        "--resolution",
        "64",
        "--most",
        "3",
        "--no-mattes",
        "--licence",
        "commercial",
        "--json",
        "-q",
    ]
    assert main(command) == 1
    said = json.loads(capsys.readouterr().out)
    assert said["clips"] == 1 and said["faces"] == FRAMES // 2 and "grey" in next(iter(said["left_out"]))
    found = load_dataset(tmp_path / "faces")
    assert found.clips[0].person == "anna" and found.clips[0].licence == "commercial"
    assert found.faces.mattes is None
    assert main(command) == 1
    assert json.loads(capsys.readouterr().out)["kept"] == 1


def test_a_list_of_people_that_is_none(tmp_path: Path) -> None:
    people = tmp_path / "people.csv"
    people.write_text("one.mov\n")
    command = ["train", "prepare", str(tmp_path), "--people", str(people), "-o", str(tmp_path / "out"), "-q"]
    assert main(command) == 2
