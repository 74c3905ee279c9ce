"""Measure the rows of a GPU: generators, the networks of a swap frame, a whole frame. At most eight minutes.

    python -m benchmarks.gpu              on a machine with an NVIDIA GPU
    python -m benchmarks.gpu --dry-run    on any machine: tiny networks on the CPU, to see that all of it runs

The networks need torch and numpy. The whole frame also needs the other packages of pyproject.toml, which all come as
wheels: OpenImageIO, opencolorio, opencv-python, av, cachetools, fileseq, filelock, lazy-loader, platformdirs,
pyyaml, requests, safetensors, scikit-image, scipy, threadpoolctl, and matplotlib for the picture of the target. Without
them that part is left out, and a line says so. No footage and no weights are needed: weights come from a rule.

Exit codes: 0 measured; 3 there is no GPU, and nothing was measured; 4 a part was left out.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from benchmarks.generators import NETWORKS, build_patterned_network, list_frame_networks
from fsgan_core.networks.inference import make_runner, use_steady_kernels

EXIT_NO_GPU, EXIT_LEFT_OUT = 3, 4
LIMIT_SECONDS = 480
VIEWS = 3
CLASS_FACE = 1
PUBLISHED_NAMES = {
    "reenact": "nfv_msrunet_256_1_2_reenactment_v2.1",
    "mask": "celeba_unet_256_1_2_segmentation_v2",
    "inpaint": "ijbc_msrunet_256_1_2_inpainting_v2",
    "blend": "ijbc_msrunet_256_1_2_blending_v2",
}
CLASSICAL_ENGINES = {"reenact": "mesh", "mask": "geometric", "inpaint": "fill", "blend": "poisson"}
TINY = {"ngf=128": "ngf=8", "num_classes=3": "num_classes=3,feature_scale=8"}


@dataclass(frozen=True)
class Scale:
    """What is measured: for a GPU, or tiny for a dry run.

    Attributes:
        device: Such as "cuda:0".
        size: Side of the networks' pictures.
        batch: Samples of the large batch.
        product: Side of the matrices of the product.
        repeats: Times that a call is measured.
        frames: Frames of the render.
    """

    device: str
    size: int = 256
    batch: int = 16
    product: int = 8192
    repeats: int = 10
    frames: int = 32

    @property
    def is_tiny(self) -> bool:
        """Whether this is a dry run."""
        return self.device == "cpu"

    def get_arch(self, role: str) -> str:
        """Gives the architecture of a network: as published, or narrow."""
        arch = NETWORKS[role][0]
        for wide, narrow in TINY.items() if self.is_tiny else ():
            arch = arch.replace(wide, narrow)
        return arch


def measure_seconds(work: Callable[[], object], scale: Scale) -> float:
    """Measures the median seconds of a call, after one that is not counted."""
    work()
    taken = []
    for _ in range(scale.repeats):
        wait(scale)
        started = time.perf_counter()
        work()
        wait(scale)
        taken.append(time.perf_counter() - started)
    return statistics.median(taken)


def wait(scale: Scale) -> None:
    """Waits until the GPU has done its work."""
    if not scale.is_tiny:
        torch.cuda.synchronize(scale.device)


def measure_product(scale: Scale) -> float:
    """Measures a large bfloat16 matrix product; returns operations per second."""
    side = torch.randn(scale.product, scale.product, device=scale.device, dtype=torch.bfloat16)
    rate = 2 * scale.product**3 / measure_seconds(lambda: side @ side, scale)
    print(f"bfloat16 product of {scale.product} x {scale.product}: {rate / 1e12:.1f} TFLOP/s\n", flush=True)
    return rate


def make_inputs(scale: Scale) -> dict[str, Tensor]:
    """Makes a sample for each network on the device; speed does not depend on the values."""
    torch.manual_seed(0)
    return {
        role: torch.rand(1, channels, scale.size, scale.size, device=scale.device) * 2 - 1
        for role, (_, channels, _) in NETWORKS.items()
    }


def measure_networks(networks: dict[str, nn.Module], given: dict[str, Tensor], product: float, scale: Scale) -> None:
    """Prints milliseconds and rates of every network, eager and compiled, and of all networks of a swap frame."""
    print("| network | how | batch | ms | TFLOP/s | share of the product |\n|---|---|---|---|---|---|")
    for is_compiled in (False,) if scale.is_tiny else (False, True):
        how = "torch.compile" if is_compiled else "eager"
        runners = {}
        for role, network in networks.items():
            runner = runners[role] = make_runner(network, scale.device, compiled=is_compiled)
            for batch in (1, scale.batch):
                samples = given[role].repeat(batch, 1, 1, 1)
                seconds = measure_seconds(lambda runner=runner, samples=samples: runner._run_pass(samples), scale)
                rate = batch * NETWORKS[role][2] * (scale.size / 256) ** 2 / seconds
                share = f"{100 * rate / product:.0f} %" if not scale.is_tiny else "-"
                print(
                    f"| {role} | {how} | {batch} | {1000 * seconds:.2f} | {rate / 1e12:.0f} | {share} |",
                    flush=True,
                )
        seconds = measure_seconds(lambda runners=runners: run_frame(runners, given), scale)
        print(f"| a swap frame, {VIEWS} views | {how} | 1 | {1000 * seconds:.2f} | | |", flush=True)
    print()


def run_frame(runners: dict[str, object], given: dict[str, Tensor]) -> None:
    """Runs the networks of a swap frame; views and faces of one kind share a pass."""
    counts = {role: list_frame_networks(VIEWS).count(role) for role in runners}
    for role, count in counts.items():
        runners[role].run(given[role].repeat(count, 1, 1, 1))  # type: ignore[attr-defined]


def write_weights(networks: dict[str, nn.Module], folder: Path, scale: Scale) -> None:
    """Writes the networks as installed weights, under their published names.

    The segmentation finds a face everywhere: with an empty matte the later stages would have nothing to do.
    """
    from safetensors.torch import save_file

    for role, network in networks.items():
        state = {key: value.clone().contiguous() for key, value in network.cpu().state_dict().items()}
        if role == "mask":
            state["final.bias"][CLASS_FACE] += 1e4
        metadata = {"name": PUBLISHED_NAMES[role], "arch": scale.get_arch(role)}
        save_file(state, folder / f"{PUBLISHED_NAMES[role]}.safetensors", metadata)


def measure_frames(folder: Path, scale: Scale) -> None:
    """Prints the frames per second of a whole 1280x720 swap: four networks, and the classical engines."""
    from dataclasses import replace

    from benchmarks.clips import FRAME_720P, Footage
    from fsgan_core.render.pipeline import RenderJob
    from fsgan_core.render.plan import plan_shot_job
    from fsgan_core.render.warm_cache import WarmCache

    footage = Footage(folder)
    networks = {f"{role}.network": name for role, name in PUBLISHED_NAMES.items()}
    networks |= {f"{role}.engine": "fsgan" for role in PUBLISHED_NAMES}
    classical = {f"{role}.engine": name for role, name in CLASSICAL_ENGINES.items()}
    print("| a whole 1280x720 frame | frames per second |\n|---|---|")
    for name, settings in (("four networks of the published size", networks), ("classical engines", classical)):
        shot = footage.make_shot(FRAME_720P, scale.frames + 4, name.split()[0])
        shot = replace(shot, stages=shot.stages.with_settings(settings))
        warm = WarmCache()
        plan = plan_shot_job(shot, frames="1-2", device=scale.device)
        RenderJob(plan, force=True, warm=warm).run()
        plan = plan_shot_job(shot, frames=f"3-{scale.frames + 2}", device=scale.device)
        job = RenderJob(plan, force=True, warm=warm)
        started = time.perf_counter()
        result = job.run()
        rate = len(result.list_frames("rendered")) / (time.perf_counter() - started)
        print(f"| {name} | {rate:.2f} |", flush=True)
        spent = ", ".join(f"{stage} {seconds / scale.frames:.3f}" for stage, seconds in result.seconds.items())
        print(f"\nthread seconds a frame: {spent}; {result.failures[:1] or 'no failures'}\n", flush=True)


def main() -> int:
    """Measures what this machine allows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dry-run", action="store_true", help="tiny networks on the CPU; the figures mean nothing")
    parser.add_argument("--no-frames", action="store_true", help="leave out the whole frame")
    options = parser.parse_args()
    started = time.perf_counter()
    if not options.dry_run and not torch.cuda.is_available():
        print("There is no GPU here that torch can use; nothing was measured. Try --dry-run.")
        return EXIT_NO_GPU
    scale = Scale("cpu", 64, 2, 256, 1, 1) if options.dry_run else Scale("cuda:0")
    name = "a dry run on the CPU" if scale.is_tiny else torch.cuda.get_device_name(scale.device)
    print(
        f"{name}, {os.cpu_count()} processors, torch {torch.__version__}, CUDA {torch.version.cuda}, {scale.size} px\n"
    )
    networks = {role: build_patterned_network(scale.get_arch(role)) for role in NETWORKS}
    with torch.inference_mode(), use_steady_kernels(scale.device, False):
        product = measure_product(scale)
        measure_networks(networks, make_inputs(scale), product, scale)
    spent = time.perf_counter() - started
    if options.no_frames or spent > LIMIT_SECONDS / 2:
        print(f"The whole frame was left out ({'as asked' if options.no_frames else f'{spent:.0f} s are spent'}).")
        return EXIT_LEFT_OUT
    with tempfile.TemporaryDirectory() as folder:
        os.environ.update(FSGAN_CACHE=f"{folder}/cache", FSGAN_WEIGHTS=folder)
        try:
            write_weights(networks, Path(folder), scale)
            measure_frames(Path(folder), scale)
        except ImportError as error:
            print(f"The whole frame was left out: {error}.")
            return EXIT_LEFT_OUT
    print(f"{time.perf_counter() - started:.0f} s in all")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
