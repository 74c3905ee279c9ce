"""EXR files made for tests."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import OpenImageIO as oiio
import pytest

from fsgan_core.plates.plate import Plate, Window


def random_plate(
    width: int = 7,
    height: int = 5,
    channels: tuple[str, ...] = ("R", "G", "B", "A"),
    *,
    data: tuple[int, int] = (0, 0),
    display: Window | None = None,
    seed: int = 0,
    formats: tuple[str, ...] = (),
    metadata: Mapping[str, object] | None = None,
) -> Plate:
    """Values that half holds exactly, some negative, some above 1."""
    pixels = np.random.default_rng(seed).normal(0.5, 2.0, (height, width, len(channels)))
    window = Window(data[0], data[1], width, height)
    return Plate(
        pixels.astype(np.float16).astype(np.float32),
        channels,
        window,
        display or window,
        1.0,
        dict(metadata or {}),
        formats,
    )


@pytest.fixture
def make_exr(tmp_path: Path) -> Callable[..., Path]:
    """make_exr(name, parts): an EXR written by OpenImageIO alone; parts are (array, channel names, attributes)."""

    def make(name: str, *parts: tuple[np.ndarray, tuple[str, ...], dict[str, object]]) -> Path:
        path = tmp_path / name
        specs = [_spec(*part) for part in parts]
        output = oiio.ImageOutput.create("openexr")
        opened = output.open(str(path), tuple(specs)) if len(specs) > 1 else output.open(str(path), specs[0])
        assert opened, output.geterror()
        for index, (spec, part) in enumerate(zip(specs, parts, strict=True)):
            if index:
                assert output.open(str(path), spec, "AppendSubimage"), output.geterror()
            assert output.write_image(part[0]), output.geterror()
        output.close()
        return path

    return make


def _spec(array: np.ndarray, channels: tuple[str, ...], attributes: dict[str, object]) -> oiio.ImageSpec:
    kind = {np.dtype(np.float16): "half", np.dtype(np.float32): "float", np.dtype(np.uint32): "uint"}[array.dtype]
    spec = oiio.ImageSpec(array.shape[1], array.shape[0], array.shape[2], kind)
    spec.channelnames = channels
    for name, value in attributes.items():
        if name in ("x", "y", "full_x", "full_y", "full_width", "full_height", "tile_width", "tile_height"):
            setattr(spec, name, value)
        else:
            spec.attribute(name, value)
    return spec
