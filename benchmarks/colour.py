"""Measure the errors and the speed of the colour codec.

.venv/bin/python benchmarks/colour.py
"""

from __future__ import annotations

import time

import numpy as np

from fsgan_core.plates.colour import DEFAULT_CONFIG, Codec, open_config

SPACES = ("ACEScg", "ACES2065-1", "Linear Rec.709 (sRGB)", "Linear Rec.2020", "Linear AdobeRGB")
EXPOSURES = (-6.0, 0.0, 2.5, 6.0)


def measure_errors(codec: Codec, values: np.ndarray) -> tuple[float, float]:
    """Largest relative error above 0.01 and absolute error below, of a round trip."""
    error, size = np.abs(codec.decode(codec.encode(values)) - values), np.abs(values)
    above = size > 0.01
    return float((error[above] / size[above]).max()), float(error[~above].max())


def measure_seconds(work: object, *arguments: object, times: int = 7) -> float:
    """The fastest of several runs."""
    taken = []
    for _ in range(times):
        started = time.perf_counter()
        work(*arguments)  # type: ignore[operator]
        taken.append(time.perf_counter() - started)
    return min(taken)


def main() -> None:
    """Print the errors and times as Markdown."""
    config = open_config(DEFAULT_CONFIG)
    rng = np.random.default_rng(0)
    saturated = np.exp(rng.uniform(np.log(1e-4), np.log(64.0), (1_000_000, 3))).astype(np.float32)
    saturated = np.maximum(saturated * np.where(rng.random(saturated.shape) < 0.1, -1, 1), -0.2).astype(np.float32)
    gray = np.repeat(np.linspace(-0.2, 64.0, 1_000_000, dtype=np.float32)[:, None], 3, axis=1)
    print("round trip on [-0.2, 64]: relative error above 0.01, absolute below")
    for space in SPACES:
        for exposure in EXPOSURES:
            codec = config.make_codec(space, exposure)
            figures = (*measure_errors(codec, gray), *measure_errors(codec, saturated))
            print(
                f"  {space:22} {exposure:+4.1f}  gray {figures[0]:.1e} {figures[1]:.1e}"
                f"  random RGB {figures[2]:.1e} {figures[3]:.1e}"
            )
    print("1000x1000 RGB, ms: encode, decode, to_srgb8")
    codec = config.make_codec("ACEScg")
    for name, gain in (("nothing above the knee", 0.4), ("all above the knee", 20.0)):
        picture = (rng.uniform(0.5, 1.0, (1000, 1000, 3)) * gain).astype(np.float32)
        display = codec.encode(picture)
        figures = (
            measure_seconds(codec.encode, picture),
            measure_seconds(codec.decode, display),
            measure_seconds(config.to_srgb8, picture, "ACEScg"),
        )
        print(f"  {name:22}", *(f"{1000.0 * figure:6.1f}" for figure in figures))


if __name__ == "__main__":
    main()
