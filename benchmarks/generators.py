"""Compare the speed and precision of the networks' wrapper with plain eager float32, as Markdown.

    .venv/bin/python benchmarks/generators.py [--repeats 5] [--views 3] [--size 256]

Both run in one process on the same input, in turns. A ratio compares two runs that follow each other, so that other
load on the machine affects both. Weights come from a formula (tests/patterns.py); speed does not depend on them. A
frame of a swap has the reenactment of each view whose weight is not zero (at most three), the segmentation of the
reenacted face and of the target's face, the completion, and the blending.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from fsgan_core.networks.architectures.build import build_network
from fsgan_core.networks.inference import Runner, make_runner, resolve_precision

GENERATOR_ARCH = "res_unet.MultiScaleResUNet(in_nc={},out_nc=3,flat_layers=(2,2,2,2),ngf=128)"
NETWORKS = {
    "reenact": (GENERATOR_ARCH.format(101), 101, 610e9),
    "mask": ("simple_unet_02.UNet(num_classes=3)", 3, 96e9),
    "inpaint": (GENERATOR_ARCH.format(4), 4, 491e9),
    "blend": (GENERATOR_ARCH.format(7), 7, 494e9),
}  # architecture, channels, operations per sample of 256 px (reference: the method's page)
LAYER_KINDS = {
    "convolution": ("conv",),
    "padding": ("reflection_pad", "aten::pad"),
    "bilinear": ("upsample",),
    "sums and ReLU": ("aten::add", "clamp_min", "relu"),
    "pooling": ("pool",),
}


def build_patterned_network(arch: str) -> nn.Module:
    """Build a network with the weights that the tests use."""
    sys.path.insert(0, str(Path(__file__).parents[1]))
    from tests.patterns import patterned

    return patterned(arch)


def make_inputs(size: int) -> dict[str, Tensor]:
    """Prepare a real face (Eileen Collins, NASA, public domain) for each network: float32 (1, channels, size, size)."""
    import cv2
    from skimage.data import astronaut

    from fsgan_core.faces.landmarkers.heatmap import draw_heat_maps

    picture = cv2.resize(astronaut()[30:230, 120:320], (size, size), interpolation=cv2.INTER_AREA)
    face = torch.from_numpy(np.moveaxis(picture, -1, 0).astype(np.float32) / 127.5 - 1)[None]
    points = np.random.default_rng(0).uniform(0.2, 0.8, (98, 2))
    maps = torch.from_numpy(np.asarray(draw_heat_maps(points, size), np.float32))[None]
    y, x = torch.meshgrid(torch.linspace(-1, 1, size), torch.linspace(-1, 1, size), indexing="ij")
    matte = ((x / 0.6) ** 2 + (y / 0.8) ** 2 < 1).float()[None, None]
    return {
        "reenact": torch.cat([face, maps], 1),
        "mask": face,
        "inpaint": torch.cat([face, matte], 1),
        "blend": torch.cat([face.flip(3) * matte + face * (1 - matte), face, matte], 1),
    }


def time_pairs(
    plain: Callable[[], object], fast: Callable[[], object], repeats: int, wait: Callable[[], None]
) -> tuple[list[float], list[float], float]:
    """Measure the seconds of both, in turns, and the ratio of their processor time (on a GPU: of wall time)."""
    taken: tuple[list[float], list[float]] = ([], [])
    spent = [0.0, 0.0]
    for turn in range(repeats + 1):
        for which in (0, 1) if turn % 2 else (1, 0):
            wait()
            started, before = time.perf_counter(), time.process_time()
            (plain, fast)[which]()
            wait()
            if turn:  # the first warms up
                taken[which].append(time.perf_counter() - started)
                spent[which] += time.process_time() - before
    return *taken, spent[0] / spent[1]


def list_frame_networks(views: int) -> list[str]:
    """List the passes of a swap's frame: each view is reenacted, both faces are segmented."""
    return ["reenact"] * views + ["mask"] * 2 + ["inpaint", "blend"]


def format_row(name: str, plain: list[float], fast: list[float], processor: float) -> str:
    """Format one line of the table: median times, and the ratio with its range."""
    ratios = sorted(one / other for one, other in zip(plain, fast, strict=True))
    return (
        f"| {name} | {statistics.median(plain):.2f} | {statistics.median(fast):.2f} | "
        f"{statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f}) | {processor:.2f} |"
    )


def print_speeds(
    plain: dict[str, nn.Module],
    fast: dict[str, Runner],
    given: dict[str, Tensor],
    views: int,
    repeats: int,
    wait: Callable[[], None],
) -> None:
    """Print the times of each network and of a frame of a swap."""
    frame = list_frame_networks(views)
    print(f"| network | plain float32, s | here, s | ratio: median (range), {repeats} pairs | ratio, processor time |")
    print("|---|---|---|---|---|")
    for name, part in [*((name, [name]) for name in plain), (f"a swap's frame, {views} views", frame)]:

        def run_plain(part: list[str] = part) -> None:
            for one in part:
                plain[one](given[one])

        def run_fast(part: list[str] = part) -> None:
            for one in part:
                fast[one].run(given[one])

        print(format_row(name, *time_pairs(run_plain, run_fast, repeats, wait)), flush=True)


def print_precisions(device: str, given: dict[str, Tensor]) -> None:
    """Print the differences from plain float32 on the CPU, of pictures in -1..1."""
    print("| network | fp32 folded, dB | bf16, dB | fp16, dB |")
    print("|---|---|---|---|")
    cases = {name: (build_patterned_network(NETWORKS[name][0]), given[name]) for name in NETWORKS}
    cases["inpaint, ngf 16, trained a little"] = (train_briefly(given["inpaint"]), given["inpaint"])
    for name, (network, x) in cases.items():
        with torch.inference_mode():
            truth = network(x)
        figures = []
        for precision in ("fp32", "bf16", "fp16"):
            if resolve_precision(device, precision) != precision:
                figures.append("not here")
                continue
            answer = make_runner(network, device, precision).run(x)
            assert isinstance(answer, Tensor)
            figures.append(f"{compute_psnr(answer.cpu(), truth):.1f}")
        print(f"| {name} | {' | '.join(figures)} |", flush=True)


def compute_psnr(a: Tensor, b: Tensor) -> float:
    """Compute the PSNR in dB, for a range of 2 (pictures) or the range of `b` if that is larger (logits)."""
    span = max(2.0, float(b.max() - b.min()))
    return float(10 * torch.log10(span**2 / (a - b).square().mean()))


def train_briefly(x: Tensor) -> nn.Module:
    """Train a small completion network for 60 steps to reproduce its input."""
    torch.manual_seed(0)
    network = build_network("res_unet.MultiScaleResUNet(in_nc=4,out_nc=3,flat_layers=(2,2,2,2),ngf=16)").train()
    optimiser = torch.optim.Adam(network.parameters(), 1e-3)
    small = nn.functional.avg_pool2d(x, max(1, x.shape[-1] // 64))
    batch = torch.cat([small, small.flip(3)])
    for _ in range(60):
        loss = (network(batch) - batch[:, :3]).abs().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return network.eval().requires_grad_(False)


def print_time_shares(runner: Runner, x: Tensor) -> None:
    """Print how a network's CPU time is divided among kinds of layers."""
    activities = [torch.profiler.ProfilerActivity.CPU]
    with torch.profiler.profile(activities=activities) as profile:
        runner.run(x)
    shares = dict.fromkeys((*LAYER_KINDS, "rest"), 0.0)
    for event in profile.key_averages():
        kind = next((kind for kind, names in LAYER_KINDS.items() if any(name in event.key for name in names)), "rest")
        shares[kind] += event.self_cpu_time_total
    total = sum(shares.values())
    print("| kind of layer | share |\n|---|---|")
    for kind, share in sorted(shares.items(), key=lambda entry: -entry[1]):
        print(f"| {kind} | {100 * share / total:.1f} % |")


def main() -> None:
    """Run all comparisons that the machine allows, and print them."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--views", type=int, default=3, choices=(1, 2, 3))
    parser.add_argument("--size", type=int, default=256)
    arguments = parser.parse_args()
    torch.set_grad_enabled(False)
    device = "cuda:0" if torch.cuda.is_available() else "cpu"
    wait = torch.cuda.synchronize if device != "cpu" else lambda: None
    given = make_inputs(arguments.size)
    print(
        f"torch {torch.__version__}, {device}, precision {resolve_precision(device)}, "
        f"{torch.get_num_threads()} threads, {arguments.size} px\n"
    )
    with torch.enable_grad():
        print_precisions(device, given)
    on_device = {name: x.to(device) for name, x in given.items()}
    plain = {name: build_patterned_network(entry[0]).to(device) for name, entry in NETWORKS.items()}
    fast = {name: make_runner(network, device) for name, network in plain.items()}
    print()
    print_speeds(plain, fast, on_device, arguments.views, arguments.repeats, wait)
    if device != "cpu":  # benchmarks/gpu.py has more
        return
    print()
    print_time_shares(fast["reenact"], given["reenact"])
    kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(f"\nlargest memory of this process, both kinds of networks: {kib / 2**20:.1f} GiB")


if __name__ == "__main__":
    main()
