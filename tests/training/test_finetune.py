"""Fine-tuning: it learns, continues after a kill with the same result, and reports errors."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch")

from fsgan_core.contract.errors import InputError  # noqa: E402
from fsgan_core.plates.synthetic_mark import read_xmp, read_xmp_fields  # noqa: E402
from fsgan_core.render.inspection import inspect_file  # noqa: E402
from fsgan_core.training.data.face_crops import FaceSet, load_faces, save_faces  # noqa: E402
from fsgan_core.training.data.pairs import Batch, PairSampler, TrainingPair  # noqa: E402
from fsgan_core.training.finetune_loop import FinetunedGenerator, FinetuneStep, finetune_generator  # noqa: E402
from fsgan_core.training.losses import Criterion, LossWeights  # noqa: E402
from fsgan_core.training.recipe import Recipe  # noqa: E402
from fsgan_core.training.run_state import STATE_FILE, load_state  # noqa: E402
from fsgan_core.training.trainer import Trainer, build_seeded_network, calibrate_batch_norm, choose_training_dtype  # noqa: E402
from fsgan_core.training.validation import Trial  # noqa: E402
from tests.training.conftest import FRAMES  # noqa: E402

ARCH = "res_unet.MultiScaleResUNet(in_nc=71,out_nc=3,flat_layers=(1,1,1),ngf=4)"
SHORT = Recipe(iterations=9, batch=2, rate=2e-3, precision="fp32")


def run(
    faces: FaceSet, folder: Path, recipe: Recipe = SHORT, key: str = "key", **options: object
) -> FinetunedGenerator:
    return finetune_generator(faces, build_seeded_network(ARCH, recipe.seed), recipe, folder=folder, key=key, **options)  # type: ignore[arg-type]


def same(a: Mapping[str, torch.Tensor], b: Mapping[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


class TestLearns:
    @pytest.mark.parametrize("prewarp", [False, True])
    def test_loss_falls(self, faces: FaceSet, tmp_path: Path, prewarp: bool) -> None:
        told: list[FinetuneStep] = []
        recipe = Recipe(iterations=18, batch=2, rate=5e-3, prewarp=prewarp, precision="fp32")
        found = run(faces, tmp_path, recipe, on_progress=told.append)
        assert found.losses[-3:].mean() < 0.65 * found.losses[:3].mean()
        assert (
            found.figures_after.l1 < 0.75 * found.figures_before.l1
            and found.figures_after.psnr > found.figures_before.psnr
        )
        assert [step.done for step in told] == list(range(1, 19)) and told[-1].total == 18
        assert not found.generator.training and found.held_out_count == 0 and found.resumed_iterations == 0
        assert not any(parameter.requires_grad for parameter in found.generator.parameters())

    def test_published_losses_with_an_identity_network(self, faces: FaceSet, tmp_path: Path) -> None:
        class Small:
            """Replaces a VGG: five layers of averages."""

            def __call__(self, x: torch.Tensor) -> list[torch.Tensor]:
                return [torch.nn.functional.avg_pool2d(x, 2**level) for level in range(5)]

        found = run(faces, tmp_path, Recipe(iterations=12, batch=2, rate=4e-3), vggs={"identity": Small()})
        assert found.losses[-3:].mean() < found.losses[:3].mean()
        state = load_state(tmp_path / STATE_FILE, "key")
        assert state is not None and not any("discriminator" in name for name in state.tensors)

    def test_previews_name_the_release(self, faces: FaceSet, tmp_path: Path) -> None:
        run(faces, tmp_path, replace(SHORT, iterations=1), preview=tmp_path / "looks", consent="R-17; until 2999-12-31")
        for path in (tmp_path / "looks").iterdir():
            assert read_xmp_fields(read_xmp(path))["release"] == "R-17; until 2999-12-31"

    def test_previews(self, faces: FaceSet, tmp_path: Path) -> None:
        recipe = Recipe(iterations=4, batch=1, prewarp=True)
        run(faces, tmp_path, recipe, preview=tmp_path / "looks", preview_every=2)
        names = sorted(path.name for path in (tmp_path / "looks").iterdir())
        assert names == ["preview_000000.png", "preview_000002.png", "preview_000004.png"]
        strip = cv2.imread(str(tmp_path / "looks" / names[1]))
        assert strip.shape == (2 * 68, 4 * 68, 3), "two pairs: source, warped, target, made"
        assert all(inspect_file(tmp_path / "looks" / name).is_synthetic is True for name in names)


class TestResume:
    def test_killed_run_continues_with_the_same_result(self, faces: FaceSet, tmp_path: Path) -> None:
        """The run was killed with SIGKILL after five of nine iterations; its state was saved after four."""
        save_faces(tmp_path / "faces.npz", faces, "key")
        killed = subprocess.run(
            [sys.executable, "-c", KILLED, str(tmp_path), ARCH],
            capture_output=True,
            text=True,
            cwd=Path(__file__).parents[2],
            check=False,
        )
        assert killed.returncode == -signal.SIGKILL, killed.stderr
        state = load_state(tmp_path / STATE_FILE, "key")
        assert state is not None and state.step == 4

        kept = load_faces(tmp_path / "faces.npz", "key")
        assert kept is not None
        resumed = run(kept, tmp_path)
        whole = run(faces, tmp_path / "whole")
        assert resumed.resumed_iterations == 4 and whole.resumed_iterations == 0
        assert same(resumed.generator.state_dict(), whole.generator.state_dict())
        assert np.array_equal(resumed.losses, whole.losses)
        assert resumed.figures_before == whole.figures_before and resumed.figures_after == whole.figures_after
        ends = [load_state(folder / STATE_FILE, "key") for folder in (tmp_path, tmp_path / "whole")]
        assert ends[0] is not None and ends[1] is not None
        assert same(ends[0].tensors, ends[1].tensors), "the discriminator and the optimizers too"

    def test_interrupted(self, faces: FaceSet, tmp_path: Path) -> None:
        """An interrupted run saves what it did since the last save."""

        def stop(step: FinetuneStep) -> None:
            if step.done == 3:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            run(faces, tmp_path, on_progress=stop)
        state = load_state(tmp_path / STATE_FILE, "key")
        assert state is not None and state.step == 3 and len(state.losses) == 3

    def test_state_of_another_run_is_not_resumed(
        self, faces: FaceSet, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        short = Recipe(iterations=1, batch=1)
        run(faces, tmp_path, short)
        assert run(faces, tmp_path, short, key="other").resumed_iterations == 0
        assert run(faces, tmp_path, short, key="other").resumed_iterations == 1
        state = tmp_path / STATE_FILE
        state.write_bytes(state.read_bytes()[:-100])
        assert run(faces, tmp_path, short, key="other").resumed_iterations == 0
        assert "starts again" in caplog.text


KILLED = """
import os, pathlib, signal, sys
import torch
from fsgan_core.training import finetune_loop as module
from fsgan_core.training.data.face_crops import load_faces
from fsgan_core.training.trainer import build_seeded_network
from fsgan_core.training.recipe import Recipe
from fsgan_core.training.validation import Trial
torch.set_num_threads(1)
module.TRIAL_COUNT, module.FINAL_CALIBRATION_BATCHES, module.CALIBRATION_BATCHES = 2, 2, 1
Trial._measure_identity = lambda self, pictures: None
folder, arch = pathlib.Path(sys.argv[1]), sys.argv[2]
def listen(step):
    if step.done == 6:
        os.kill(os.getpid(), signal.SIGKILL)
faces = load_faces(folder / "faces.npz", "key")
recipe = Recipe(iterations=9, batch=2, rate=2e-3, precision="fp32")
module.finetune_generator(faces, build_seeded_network(arch, 1), recipe, folder=folder, key="key", save_every=4,
                          on_progress=listen)
"""


class TestTrainer:
    def batch(self, faces: FaceSet) -> Batch:
        return PairSampler(faces, np.ones(FRAMES, bool), prewarp=False, seed=1).make_batch(
            [TrainingPair(0, 1), TrainingPair(2, 3)]
        )

    def test_diverged(self, faces: FaceSet) -> None:
        trainer = Trainer(build_seeded_network(ARCH, 1), Criterion(LossWeights(pixel=1.0)), SHORT)
        batch = self.batch(faces)
        with pytest.raises(InputError, match="--rate"):
            trainer.step(replace(batch, inputs=batch.inputs * np.float32(np.nan)))

    def test_bf16(self, faces: FaceSet) -> None:
        """Mixed precision: arithmetic in 16 bits, weights and losses in 32."""
        recipe = Recipe(precision="bf16", rate=2e-3)
        trainer = Trainer(build_seeded_network(ARCH, 1), Criterion(LossWeights(pyramid=1.0, ssim=0.5)), recipe)
        losses = [trainer.step(self.batch(faces))["total"] for _ in range(8)]
        assert losses[-1] < losses[0]
        assert {parameter.dtype for parameter in trainer.generator.parameters()} == {torch.float32}

    def test_gradients_are_clipped(self, faces: FaceSet) -> None:
        trainer = Trainer(build_seeded_network(ARCH, 1), Criterion(LossWeights(pixel=1e4)), Recipe(clip=0.5))
        trainer.step(self.batch(faces))
        norm = sum(float((p.grad**2).sum()) for p in trainer.generator.parameters() if p.grad is not None) ** 0.5
        assert norm == pytest.approx(0.5, rel=1e-3)

    def test_a_discriminator_is_needed(self) -> None:
        with pytest.raises(ValueError, match="discriminator"):
            Trainer(build_seeded_network(ARCH, 1), Criterion(LossWeights.make_without_vgg()), SHORT)

    def test_network_with_two_heads(self, faces: FaceSet) -> None:
        """The generator of the first version returns a segmentation too."""
        arch = "res_unet_split.MultiScaleResUNet(in_nc=71,out_nc=(3,3),flat_layers=(1,1,1),ngf=4)"
        trainer = Trainer(build_seeded_network(arch, 1), Criterion(LossWeights(pixel=1.0)), SHORT)
        assert trainer.step(self.batch(faces))["pixel"] > 0
        assert trainer.generate(self.batch(faces)).shape == (2, 3, 64, 64)

    def test_seeded(self) -> None:
        torch.manual_seed(5)
        before = torch.get_rng_state()
        assert same(build_seeded_network(ARCH, 1).state_dict(), build_seeded_network(ARCH, 1).state_dict())
        assert not same(build_seeded_network(ARCH, 1).state_dict(), build_seeded_network(ARCH, 2).state_dict())
        assert torch.equal(torch.get_rng_state(), before)

    def test_precision(self) -> None:
        assert (
            choose_training_dtype("fp32", "cpu") == torch.float32
            and choose_training_dtype("bf16", "cpu") == torch.bfloat16
        )
        assert choose_training_dtype("auto", "cpu") in (torch.float32, torch.bfloat16)


def test_calibrate_measures_batch_norm_over_all_batches() -> None:
    norm = torch.nn.BatchNorm2d(2)
    batches = [torch.randn(4, 2, 8, 8) * 3 + 1, torch.randn(4, 2, 8, 8) - 2]
    norm.eval()
    calibrate_batch_norm(norm, batches)
    expected = torch.stack([batch.mean((0, 2, 3)) for batch in batches]).mean(0)
    assert torch.allclose(norm.running_mean, expected, atol=1e-5)
    assert norm.momentum == 0.1 and not norm.training


def test_figures(faces: FaceSet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()  # identity is measured here
    pairs = PairSampler(faces, np.ones(FRAMES, bool), prewarp=False, seed=1)
    trial = Trial(pairs, [TrainingPair(0, 1)])
    perfect = trial.compute_figures([faces.get_crop(1)])
    assert perfect.l1 == 0 and perfect.identity == pytest.approx(0, abs=1e-9) and perfect.psnr == 100
    off = trial.compute_figures([np.clip(faces.get_crop(1).astype(int) + 10, 0, 255).astype(np.uint8)])
    assert 0.03 < off.l1 <= 10 / 255 and 28 < off.psnr < 29 and 0 < off.identity < 0.3  # type: ignore[operator]
    assert (
        "identity distance" in str(off) and trial.compute_figures([faces.get_crop(1)], identity=False).identity is None
    )


@pytest.mark.parametrize(
    "wrong",
    [
        {"iterations": 0},
        {"batch": 0},
        {"rate": 0.0},
        {"rate": float("nan")},
        {"seed": -1},
        {"clip": 0.0},
        {"precision": "fp8"},
        {"discriminator_rate": 5.0},
    ],
)
def test_recipe(wrong: dict[str, float]) -> None:
    with pytest.raises(InputError, match=next(iter(wrong))):
        Recipe(**wrong)  # type: ignore[arg-type]
