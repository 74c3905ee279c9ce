"""Beards: replaced or kept, never half; what only looks like one on one side stays in front."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from fsgan_core.contract.params import MaskParams
from fsgan_core.plates.colour import Codec, ColourConfig
from fsgan_core.stages.occluders.beard import draw_beard_zone, measure_beard
from tests.stages.conftest import Still, plate_at

RAW = MaskParams(feather=0.0, hands=False)


def bearded(still: Still, config: ColourConfig) -> tuple[Still, np.ndarray]:
    """The still with a dark, full beard, and its zone on the region."""
    window, vertices = still.plate.data_window, still.face.get_mesh()[:, :2]
    zone = draw_beard_zone(vertices, window, still.width)
    below = draw_beard_zone(vertices + np.array([0.0, 0.06 * still.width]), window, still.width)
    cover = np.maximum(zone, below * (1 - zone) * (cv2.blur(zone, (31, 31)) > 0.02))
    rough = 1 + 0.3 * np.random.default_rng(1).standard_normal(zone.shape)
    hair = config.convert(np.float32([[[52, 38, 30]]]) / 255, "sRGB", config.scene_linear) * rough[..., None]
    pixels = still.plate.pixels * (1 - cover[..., None]) + cover[..., None] * hair.clip(0)
    plate = plate_at(zone[..., None].repeat(3, 2))
    return still.painted(pixels), plate.crop(still.region).pixels[..., 0]


@pytest.mark.parametrize("name", ["collins", "hopper"])
def test_replaced_or_kept_as_a_whole(
    name: str, codec: Codec, config: ColourConfig, request: pytest.FixtureRequest
) -> None:
    still, zone = bearded(request.getfixturevalue(name), config)
    inner = cv2.erode(zone, np.ones((5, 5))) > 0.95
    replaced, kept = (
        still.mattes(codec, RAW.replace(beard=choice)).get_matte("matte.face") for choice in ("replace", "keep")
    )
    assert replaced[inner].mean() > 0.95
    assert kept[inner].max() < 0.05
    away = cv2.dilate(zone, np.ones((9, 9))) < 0.01
    assert np.abs(replaced - kept)[away].mean() < 0.01


def test_one_side_is_no_beard(collins: Still) -> None:
    vertices = collins.face.get_mesh()[:, :2] - (collins.region.x, collins.region.y)
    outline = np.ones((collins.region.height, collins.region.width), np.float32)
    whole = np.ones_like(outline)
    middle = round(vertices[152, 0])
    half = whole.copy()
    half[:, middle:] = 0
    assert measure_beard(half, vertices, outline) == 0
    assert measure_beard(whole, vertices, outline) == 0  # it hides the lips too
    assert measure_beard(np.zeros_like(outline), vertices, outline) == 0
