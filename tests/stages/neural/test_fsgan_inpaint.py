"""Inpainting by a network: the published result at its own raster, the plate's own pixels where there were some."""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np
import pytest

from fsgan_core.contract.layers import MATTES
from fsgan_core.contract.params import InpaintParams
from fsgan_core.plates.colour import Codec
from fsgan_core.plates.plate import Plate, Window
from fsgan_core.stages.image_ops import unpremultiply
from fsgan_core.stages.interface import FaceFrame
from fsgan_core.stages.neural.erosion import erode_softly
from fsgan_core.stages.neural.fsgan_crop import compute_face_crop
from fsgan_core.stages.neural.fsgan_inpaint import FsganInpaint
from tests.stages.conftest import Still
from tests.stages.stand_ins import Function, StandIn, module_network, network, on_raster, same_picture

PARAMS = InpaintParams(resolution=128, other_views=False)


def reenacted(still: Still, alpha: np.ndarray) -> Plate:
    rgb = still.plate.crop(still.region).get("R", "G", "B")
    return Plate(
        np.dstack([rgb * alpha[..., None], alpha]).astype(np.float32),
        ("R", "G", "B", "A"),
        still.region,
        still.plate.display_window,
        still.plate.pixel_aspect,
    )


def oval(still: Still, size: float = 1.0) -> np.ndarray:
    """An ellipse around the nose, anti-aliased, 0..1."""
    x, y = np.meshgrid(np.arange(still.region.width) + still.region.x, np.arange(still.region.height) + still.region.y)
    middle, width = still.face.landmarks[29], still.width * size
    radius = np.hypot((x - middle[0]) * still.plate.pixel_aspect / (0.42 * width), (y - middle[1]) / (0.55 * width))
    return np.clip((1 - radius) * 0.4 * width + 0.5, 0, 1).astype(np.float32)


def wanted(still: Still, matte: np.ndarray) -> Plate:
    pixels = np.dstack([matte, 0 * matte, 0 * matte, 0 * matte]).astype(np.float32)
    return Plate(pixels, MATTES, still.region, still.region, still.plate.pixel_aspect)


def nothing() -> Iterator[Plate]:
    raise AssertionError("no further view is wanted")
    yield


def completed(
    still: Still,
    alpha: np.ndarray,
    codec: Codec,
    function: Function = same_picture,
    params: InpaintParams = PARAMS,
    matte: np.ndarray | None = None,
    **facts: object,
) -> tuple[Plate, StandIn]:
    networks, stand_in = network("inpaint", function, **facts)
    mattes = wanted(still, oval(still) if matte is None else matte)
    return FsganInpaint(networks).inpaint(
        still.frame(codec), reenacted=reenacted(still, alpha), mattes=mattes, further_views=nothing, params=params
    ), stand_in


def tint(batch: np.ndarray) -> np.ndarray:
    """Some picture that depends on all that is shown, -1..0.7."""
    return np.clip(0.6 * batch[:, :3] + 0.1 * batch[:, 3:4] + 0.1 * batch[:, [1, 2, 0]], -1, 0.7)


class TestPublished:
    def test_what_the_network_is_shown(self, collins: Still, codec: Codec) -> None:
        """The face, everything else at -1, and the target's hard matte."""
        still = on_raster(collins, 128)
        crop = compute_face_crop(still.face, 1.2, 128)
        x, y = round(crop.left + 0.5) - still.region.x, round(crop.top + 0.5) - still.region.y
        part = np.s_[y : y + 128, x : x + 128]
        alpha = oval(still, 0.8)
        _, stand_in = completed(still, alpha, codec)
        (given,) = stand_in.given
        assert given.shape == (1, 4, 128, 128)
        shown = (alpha >= 0.5)[part]
        assert (given[0, :3, ~shown] == -1).all()
        own = codec.without_shoulder().encode(still.plate.crop(still.region).get("R", "G", "B"))[part]
        assert np.abs((given[0, :3].transpose(1, 2, 0) + 1) / 2 - own)[shown].max() < 2e-3
        assert np.array_equal(given[0, 3], erode_softly((oval(still) >= 0.5)[part].astype(np.float32), 11)[1])

    def test_the_networks_answer_at_its_own_raster(self, collins: Still, codec: Codec) -> None:
        """Where plate and network have the same pixels, the completed face is what the network said, inside the hard
        matte; beyond its soft edge, whatever it says counts for nothing."""
        still = on_raster(collins, 128)
        crop = compute_face_crop(still.face, 1.2, 128)
        x, y = round(crop.left + 0.5) - still.region.x, round(crop.top + 0.5) - still.region.y
        result, stand_in = completed(still, oval(still, 0.7), codec, tint)
        answer = (tint(stand_in.given[0])[0].transpose(1, 2, 0) + 1) / 2
        rgb, alpha = unpremultiply(result)
        hard = stand_in.given[0][0, 3]
        inside = (alpha > 0.999)[y : y + 128, x : x + 128] & (hard > 0)
        inside[:4], inside[-4:], inside[:, :4], inside[:, -4:] = False, False, False, False
        assert inside.sum() > 2500
        assert np.abs(codec.without_shoulder().encode(rgb)[y : y + 128, x : x + 128] - answer)[inside].max() < 3e-3

        def black_outside(batch: np.ndarray) -> np.ndarray:
            return np.where(batch[:, 3:] > 0, tint(batch), -1)

        dark, _ = completed(still, oval(still, 0.7), codec, black_outside)
        beyond = cv2.dilate(hard, np.ones((15, 15))) == 0
        assert np.abs(unpremultiply(dark)[0] - rgb)[y : y + 128, x : x + 128][beyond].max() < 0.02

    def test_white_is_white(self, collins: Still, codec: Codec) -> None:
        """What is linear 1 at the codec's exposure is 1 to the network, and bright skin is what sRGB makes of it."""
        plate = collins.painted(np.full_like(collins.plate.pixels, 1.0))
        _, stand_in = completed(plate, oval(plate), codec)
        assert stand_in.given[0][0, :3].max() == pytest.approx(1.0, abs=1e-5)
        plate = collins.painted(np.full_like(collins.plate.pixels, 0.75))
        _, stand_in = completed(plate, oval(plate), codec)
        assert (stand_in.given[0][0, :3].max() + 1) / 2 == pytest.approx(0.8808, abs=1e-3)


class TestPlate:
    @pytest.mark.parametrize("resolution", [64, 256])
    def test_a_network_that_changes_nothing(self, collins: Still, codec: Codec, resolution: int) -> None:
        """Every pixel of the plate's own resolution stays where there was a face."""
        result, _ = completed(collins, oval(collins), codec, params=PARAMS.replace(resolution=resolution))
        own = collins.plate.crop(collins.region).get("R", "G", "B")
        sure = cv2.erode(oval(collins), np.ones((9, 9))) == 1
        assert sure.sum() > 2000
        assert np.abs(unpremultiply(result)[0] - own)[sure].max() < 1e-4

    def test_what_lies_outside_0_to_1_stays(self, collins: Still, codec: Codec) -> None:
        pixels = collins.plate.pixels.copy()
        x, y = np.round(collins.face.landmarks[30]).astype(int)
        pixels[y - 6 : y - 2, x - 3 : x + 3], pixels[y + 3 : y + 6, x - 3 : x + 3] = 40.0, -0.05
        result, _ = completed(collins.painted(pixels), oval(collins), codec)
        rgb = unpremultiply(result)[0]
        x, y = x - collins.region.x, y - collins.region.y
        assert rgb[y - 4, x] == pytest.approx(40.0, rel=0.02)
        assert rgb[y + 4, x] == pytest.approx(-0.05, abs=0.005)

    def test_a_change_is_added_to_the_fine_picture(self, collins: Still, codec: Codec) -> None:
        def brighter(batch: np.ndarray) -> np.ndarray:
            return np.asarray(batch[:, :3] + np.where(batch[:, :3] > -1, 0.1, 0))

        dark = collins.painted(0.3 * collins.plate.pixels)  # far from white, beyond which no network may go
        result, _ = completed(dark, oval(dark), codec, brighter, PARAMS.replace(resolution=64))
        own = codec.without_shoulder().encode(dark.plate.crop(dark.region).get("R", "G", "B"))
        sure = cv2.erode(oval(dark), np.ones((15, 15))) == 1
        change = (codec.without_shoulder().encode(unpremultiply(result)[0]) - own)[sure]
        assert len(change) > 1000
        assert np.percentile(change, [2, 98]) == pytest.approx(0.05, abs=0.01)

    def test_what_is_missing_is_the_networks(self, collins: Still, codec: Codec) -> None:
        def grey_where_nothing_is(batch: np.ndarray) -> np.ndarray:
            return np.where(batch[:, :3] > -1, batch[:, :3], 0.0)

        left = (np.arange(collins.region.width) + collins.region.x < collins.face.landmarks[29, 0])[None]
        alpha = (oval(collins) * left).astype(np.float32)
        result, _ = completed(collins, alpha, codec, grey_where_nothing_is)
        rgb, cover = unpremultiply(result)
        inside = cv2.erode(oval(collins), np.ones((5, 5))) == 1
        far = inside & ~cv2.dilate(left.repeat(len(alpha), 0).astype(np.uint8), np.ones((9, 9))).astype(bool)
        assert (cover[inside] == 1).all()
        assert codec.without_shoulder().encode(rgb)[far] == pytest.approx(0.5, abs=0.02)
        made = result.get_matte("matte.completed")
        assert (made[far] == 1).all() and not made[inside & (alpha == 1)].any()

    def test_nothing_shown_at_all(self, collins: Still, codec: Codec) -> None:
        result, stand_in = completed(
            collins, np.zeros_like(oval(collins)), codec, lambda batch: np.zeros_like(batch[:, :3])
        )
        assert (stand_in.given[0][0, :3] == -1).all()
        rgb, alpha = unpremultiply(result)
        inside = cv2.erode(oval(collins), np.ones((9, 9))) == 1
        assert codec.without_shoulder().encode(rgb)[inside] == pytest.approx(0.5, abs=1e-3)
        assert (alpha[oval(collins) > 0] == 1).all()

    def test_wanted_beyond_the_crop_goes_on_smoothly(self, collins: Still, codec: Codec) -> None:
        matte = np.ones_like(oval(collins))
        result, _ = completed(collins, oval(collins), codec, lambda batch: np.zeros_like(batch[:, :3]), matte=matte)
        rgb, alpha = unpremultiply(result)
        assert (alpha == 1).all()
        beyond = codec.without_shoulder().encode(rgb)[:6]
        assert np.abs(np.diff(beyond, axis=1)).max() < 0.02 and np.abs(beyond - 0.5).max() < 0.3

    def test_further_views_come_first(self, collins: Still, codec: Codec) -> None:
        asked = []

        def others() -> Iterator[Plate]:
            asked.append(1)
            yield reenacted(collins, np.ones_like(oval(collins)))

        networks, _ = network("inpaint", same_picture)
        alpha = oval(collins, 0.6)
        result = FsganInpaint(networks).inpaint(
            collins.frame(codec),
            reenacted=reenacted(collins, alpha),
            mattes=wanted(collins, oval(collins)),
            further_views=others,
            params=PARAMS.replace(other_views=True),
        )
        assert asked
        own = collins.plate.crop(collins.region).get("R", "G", "B")
        inside = cv2.erode(oval(collins), np.ones((9, 9))) == 1
        skin = inside & (codec.without_shoulder().encode(own).mean(-1) > 0.4)
        assert skin.sum() > 0.8 * inside.sum()
        assert (
            np.abs(codec.without_shoulder().encode(unpremultiply(result)[0]) - codec.without_shoulder().encode(own))[
                skin
            ].mean()
            < 0.01
        )
        assert result.get_matte("matte.completed")[inside & (alpha == 0)].min() == 1

    def test_pixels_that_are_not_square(self, collins: Still, codec: Codec) -> None:
        narrow = collins.squeezed()
        result, _ = completed(narrow, oval(narrow), codec)
        own = narrow.plate.crop(narrow.region).get("R", "G", "B")
        sure = cv2.erode(oval(narrow), np.ones((9, 9))) == 1
        assert np.abs(unpremultiply(result)[0] - own)[sure].max() < 1e-4

    def test_a_real_network(self, collins: Still, codec: Codec) -> None:
        networks = module_network("inpaint", "res_unet.MultiScaleResUNet(in_nc=4,out_nc=3,flat_layers=(1,1),ngf=8)")
        result = FsganInpaint(networks).inpaint(
            collins.frame(codec),
            reenacted=reenacted(collins, oval(collins, 0.7)),
            mattes=wanted(collins, oval(collins)),
            further_views=nothing,
            params=PARAMS.replace(resolution=64),
        )
        assert np.isfinite(result.pixels).all()
        assert result.channels == ("R", "G", "B", "A", "matte.completed", "matte.kept")

    def test_holdout_is_not_filled(self, collins: Still, codec: Codec) -> None:
        networks, _ = network("inpaint", same_picture)
        holdout = np.zeros_like(oval(collins))
        holdout[:, holdout.shape[1] // 2 :] = 1
        result = FsganInpaint(networks).inpaint(
            collins.frame(codec, holdout),
            reenacted=reenacted(collins, np.zeros_like(holdout)),
            mattes=wanted(collins, oval(collins)),
            further_views=nothing,
            params=PARAMS,
        )
        assert not result.get_matte("matte.completed")[:, holdout.shape[1] // 2 :].any()
        assert not result.get_matte("A")[:, holdout.shape[1] // 2 + 10 :].any()


def test_window_of_the_region_is_kept(collins: Still, codec: Codec) -> None:
    region = Window(collins.region.x + 20, collins.region.y + 30, 120, 110)
    networks, _ = network("inpaint", same_picture)
    whole = reenacted(collins, oval(collins)).crop(region)
    result = FsganInpaint(networks).inpaint(
        FaceFrame(collins.plate, collins.face, region, codec),
        reenacted=whole,
        mattes=wanted(collins, oval(collins)).crop(region),
        further_views=nothing,
        params=PARAMS,
    )
    assert result.data_window == region
