"""Blending by a network: the published result at its own raster; outside the matte nothing changes."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from fsgan_core.contract.layers import MATTES
from fsgan_core.contract.params import BlendParams
from fsgan_core.plates.colour import Codec
from fsgan_core.plates.plate import Plate, compute_slices
from fsgan_core.stages.blending import MIN_MATTE
from fsgan_core.stages.blending import blend as classical
from fsgan_core.stages.interface import BlendedPlate, FaceFrame
from fsgan_core.stages.neural.erosion import erode_softly
from fsgan_core.stages.neural.fsgan_blend import FsganBlend
from fsgan_core.stages.neural.fsgan_crop import compute_face_crop
from tests.stages.conftest import Still, Swap, plate_at, swapped
from tests.stages.neural.test_fsgan_inpaint import oval, reenacted, wanted
from tests.stages.stand_ins import Function, StandIn, module_network, network, on_raster, same_picture
from tests.stages.test_blending import on_plate, rich

PLAIN = BlendParams(engine="fsgan", resolution=128, colour=0.0, sharpness=0.0, detail=0.0, grain=0.0)


@pytest.fixture(scope="module")
def swap(hopper: Still, collins: Still, codec: Codec) -> Swap:
    return swapped(hopper, collins, codec)


def blended(
    swap: Swap,
    codec: Codec,
    function: Function = same_picture,
    target: Plate | None = None,
    params: BlendParams = PLAIN,
    holdout: np.ndarray | None = None,
) -> tuple[BlendedPlate, StandIn]:
    networks, stand_in = network("blend", function)
    return FsganBlend(networks).blend(
        FaceFrame(target or swap.target.plate, swap.target.face, swap.target.region, codec, holdout),
        completed=swap.completed,
        mattes=swap.mattes,
        params=params,
    ), stand_in


def tint(batch: np.ndarray) -> np.ndarray:
    return np.clip(0.7 * batch[:, :3] + 0.2 * batch[:, 3:6] + 0.1 * batch[:, 6:], -1, 0.7)


class TestPublished:
    def test_at_the_networks_own_raster(self, collins: Still, codec: Codec) -> None:
        """transfer = completed x hard + target x (1 - hard); result = answer where the matte is 1."""
        still = on_raster(collins, 128)
        crop = compute_face_crop(still.face, 1.2, 128)
        x, y = round(crop.left + 0.5) - still.region.x, round(crop.top + 0.5) - still.region.y
        part = np.s_[y : y + 128, x : x + 128]
        target = plate_at(np.clip(still.plate.pixels[:, ::-1], 0, 0.6) * np.float32([0.8, 1, 1]))
        new = reenacted(still, np.ones_like(oval(still)))
        matte = oval(still)
        networks, stand_in = network("blend", tint)
        result = FsganBlend(networks).blend(
            FaceFrame(target, still.face, still.region, codec), completed=new, mattes=wanted(still, matte), params=PLAIN
        )
        (given,) = stand_in.given
        assert given.shape == (1, 7, 128, 128)
        hard = erode_softly((matte >= 0.5)[part].astype(np.float32), 11)[1]
        assert np.array_equal(given[0, 6], hard)
        own = np.clip(codec.without_shoulder().encode(target.crop(still.region).get("R", "G", "B")), 0, 1)[part]
        face = np.clip(codec.without_shoulder().encode(new.get("R", "G", "B")), 0, 1)[part]
        transfer = np.where(hard[..., None] > 0, face, own)
        seen = (given[0].transpose(1, 2, 0) + 1) / 2
        assert np.abs(seen[..., 3:6] - own)[8:-8, 8:-8].max() < 1e-4
        assert np.abs(seen[..., :3] - transfer)[8:-8, 8:-8].max() < 1e-3

        answer = (tint(given)[0].transpose(1, 2, 0) + 1) / 2
        after = codec.without_shoulder().encode(result.plate.crop(still.region).get("R", "G", "B"))[part]
        full = (matte == 1)[part]
        assert full.sum() > 4000
        assert np.abs(after - answer)[full].max() < 3e-3
        # On the soft edge the two are mixed in light.
        soft = (matte[part] > 0.1) & (matte[part] < 0.9)
        light = (
            codec.without_shoulder().decode(own)
            + matte[part][..., None] * (codec.without_shoulder().decode(answer) - codec.without_shoulder().decode(own))
        )[soft]
        assert np.abs(codec.without_shoulder().decode(after)[soft] - light).max() < 5e-3


class TestPlate:
    def test_a_network_that_changes_nothing_is_a_plain_over(self, swap: Swap, codec: Codec) -> None:
        """Inside the hard matte, pixel for pixel at the plate's resolution."""
        result, _ = blended(swap, codec, params=PLAIN.replace(resolution=64))
        over = classical(
            swap.target.frame(codec),
            completed=swap.completed,
            mattes=swap.mattes,
            params=PLAIN.replace(engine="over"),
        )
        assert np.array_equal(result.matte, over.matte)
        matte = on_plate(swap, result)
        deep = cv2.erode(matte, np.ones((13, 13))) > 0.9
        assert deep.sum() > 1500
        assert np.abs(result.plate.pixels - over.plate.pixels)[deep].max() < 1e-3

    @pytest.mark.parametrize("function", [same_picture, tint, lambda batch: np.ones_like(batch[:, :3])])
    def test_nothing_outside_the_matte_changes(self, swap: Swap, codec: Codec, function: Function) -> None:
        plate = rich(swap.target.plate, "float")
        plate.pixels[3, 5, 2], plate.pixels[4, 6], plate.pixels[200, 190, 1] = np.nan, np.inf, -np.inf
        given = plate.pixels.copy()
        result, _ = blended(swap, codec, function, plate)
        matte = on_plate(swap, result)
        same = result.plate.pixels.view(np.uint32) == given.view(np.uint32)
        assert same[matte == 0].all()
        names = list(plate.channels)
        for name in ("A", "depth.Z", "id.roto"):
            assert same[..., names.index(name)].all()
        assert np.array_equal(plate.pixels.view(np.uint32), given.view(np.uint32))
        assert (~same[matte > 0.5]).any(-1).mean() > 0.9

    def test_a_lamp_under_the_soft_edge(self, swap: Swap, codec: Codec) -> None:
        matte = on_plate(swap, blended(swap, codec)[0])
        y, x = np.argwhere((matte > 0.05) & (matte < 0.2))[20]
        pixels = swap.target.plate.pixels.copy()
        pixels[y - 1 : y + 2, x - 1 : x + 2] = 64.0
        target = replace(swap.target.plate, pixels=pixels)
        result, _ = blended(swap, codec, target=target)
        share = on_plate(swap, result)[y, x]
        assert 64 * (1 - share) - 1 <= result.plate.pixels[y, x].min()
        assert result.plate.pixels[y, x].max() <= 64.5
        assert np.abs(result.plate.pixels).max() <= 70

    def test_empty_holdout_and_mix(self, swap: Swap, codec: Codec) -> None:
        result, stand_in = blended(swap, codec, params=PLAIN.replace(mix=0.0))
        assert result.plate is swap.target.plate and not stand_in.given
        holdout = np.zeros_like(swap.mattes.get_matte("A"))
        holdout[:, :80] = 1
        assert not blended(swap, codec, holdout=holdout)[0].matte[:, :80].any()
        half, full = (blended(swap, codec, params=PLAIN.replace(mix=mix))[0] for mix in (0.5, 1.0))
        assert np.allclose(half.matte, 0.5 * full.matte, atol=MIN_MATTE)
        mean = 0.5 * (swap.target.plate.pixels + full.plate.pixels)
        assert np.abs(half.plate.pixels - mean)[on_plate(swap, full) > 0].max() < 1e-3

    def test_colour_match_comes_before_and_grain_after(self, swap: Swap, codec: Codec) -> None:
        _, stand_in = blended(swap, codec)
        _, matched = blended(swap, codec, params=PLAIN.replace(colour=1.0))
        core = stand_in.given[0][0, 6] > 0
        target = stand_in.given[0][0, 3:6][:, core].mean(1)
        plain, lit = (one.given[0][0, :3][:, core].mean(1) for one in (stand_in, matched))
        assert np.abs(lit - target).max() < 0.5 * np.abs(plain - target).max()

        def flat(batch: np.ndarray) -> np.ndarray:
            return np.zeros_like(batch[:, :3])

        smooth, grainy = (
            blended(swap, codec, flat, params=PLAIN.replace(grain=grain, sharpness=grain)) for grain in (0.0, 1.0)
        )
        assert np.array_equal(smooth[1].given[0], grainy[1].given[0])
        deep = cv2.erode(on_plate(swap, smooth[0]), np.ones((21, 21))) > 0.9
        before, after = (codec.without_shoulder().encode(one.plate.pixels)[deep] for one, _ in (smooth, grainy))
        assert np.abs(after - before).std() > 1e-3

    def test_beyond_the_crop_the_face_goes_on(self, collins: Still, codec: Codec) -> None:
        """A matte that reaches out of the network's crop mixes the completed face as it is."""
        target = plate_at(np.full_like(collins.plate.pixels, 0.05))
        new = reenacted(collins, np.ones_like(oval(collins)))
        matte = np.zeros_like(oval(collins))
        matte[4:-4, 4:-4] = 1
        networks, _ = network("blend", same_picture)
        result = FsganBlend(networks).blend(
            FaceFrame(target, collins.face, collins.region, codec),
            completed=new,
            mattes=wanted(collins, matte),
            params=PLAIN,
        )
        window = collins.region.intersect(target.data_window)
        after = result.plate.pixels[compute_slices(window, target.data_window)]
        own = new.crop(window).get("R", "G", "B")
        inside = wanted(collins, matte).crop(window).get_matte("matte.face") > 0
        inside = cv2.erode(inside.astype(np.uint8), np.ones((3, 3)), borderValue=1) > 0
        crop = compute_face_crop(collins.face, 1.2, 128)
        rows = np.arange(window.height) + window.y
        out = inside & ((rows < crop.top - 6) | (rows > crop.top + crop.height + 6))[:, None]
        assert out.sum() > 100
        assert np.abs(after - own)[out].max() < 1e-3

    def test_a_real_network(self, swap: Swap, codec: Codec) -> None:
        networks = module_network("blend", "res_unet.MultiScaleResUNet(in_nc=7,out_nc=3,flat_layers=(1,1),ngf=8)")
        result = FsganBlend(networks).blend(
            swap.target.frame(codec),
            completed=swap.completed,
            mattes=swap.mattes,
            params=BlendParams(engine="fsgan", resolution=64),
        )
        assert np.isfinite(result.plate.pixels).all()
        assert tuple(swap.mattes.channels) == MATTES
