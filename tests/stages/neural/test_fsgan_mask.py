"""Mattes by a segmentation network: what it says lands where it looked, over time, as the artist wants it."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from fsgan_core.contract.errors import EngineError
from fsgan_core.contract.layers import MATTES
from fsgan_core.contract.params import MaskParams
from fsgan_core.faces.face import Face
from fsgan_core.plates.colour import Codec
from fsgan_core.plates.plate import Plate
from fsgan_core.stages.masking import read_texture
from fsgan_core.stages.neural.fsgan_crop import compute_face_crop
from fsgan_core.stages.neural.fsgan_mask import SCORE_CHANNELS, FsganMask, close_holes
from fsgan_core.stages.neural.fsgan_network import compute_network_mattes
from tests.stages.conftest import Still, face_at
from tests.stages.stand_ins import Function, module_network, network, same_picture

RAW = MaskParams(feather=0.0, resolution=128)
X, Y = np.meshgrid(*[(np.arange(128) + 0.5) / 128] * 2)
OVAL = ((X - 0.5) / 0.3) ** 2 + ((Y - 0.55) / 0.35) ** 2 < 1


def labels(face: np.ndarray, hair: np.ndarray | None = None) -> Function:
    """A network that says face and hair where these are, whatever it sees."""
    hair = np.zeros_like(face) if hair is None else hair
    scores = np.stack([~face & ~hair, face & ~hair, hair]).astype(np.float32) * 12 - 6
    return lambda batch: np.repeat(scores[None], len(batch), 0)


def masked(
    still: Still,
    codec: Codec,
    function: Function,
    params: MaskParams = RAW,
    holdout: np.ndarray | None = None,
    **facts: object,
) -> Plate:
    networks, _ = network("mask", function, **facts)
    measured = FsganMask(networks).measure_mattes(still.frame(codec), params=params)
    return FsganMask(networks).combine_mattes(
        still.frame(codec, holdout), neighbours=[(still.face, measured)], params=params
    )


def shares(still: Still, scale: float = 1.2) -> np.ndarray:
    """(h, w, 2) of each of the region's pixels in the crop."""
    crop = compute_face_crop(still.face, scale, 128, still.plate.pixel_aspect)
    region = still.region
    x, y = np.arange(region.width) + region.x, np.arange(region.height) + region.y
    return crop.normalise_points(np.stack(np.meshgrid(x, y), -1))


def oval(still: Still, scale: float = 1.2) -> np.ndarray:
    """How far each of the region's pixels is inside the oval: 0 in its middle, 1 on its edge."""
    where = (shares(still, scale) - (0.5, 0.55)) / (0.3, 0.35)
    return np.asarray(np.linalg.norm(where, axis=-1))


class TestPlace:
    @pytest.mark.parametrize("scale", [1.2, 2.0])
    def test_a_label_lands_where_the_network_saw_it(self, collins: Still, codec: Codec, scale: float) -> None:
        matte = masked(collins, codec, labels(OVAL), crop=scale).get_matte("matte.face")
        inside, seen = oval(collins, scale), matte > 0.5
        if scale == 1.2:  # at 2.0 the oval is larger than a face may be
            assert seen.mean() == pytest.approx((inside < 1).mean(), rel=0.02)
            assert matte[inside > 1.06].max() < 0.02
        assert matte[inside < 0.5].min() > 0.98

    def test_on_pixels_that_are_not_square(self, collins: Still, codec: Codec) -> None:
        narrow = collins.squeezed()
        matte = masked(narrow, codec, labels(OVAL)).get_matte("matte.face")
        inside = oval(narrow)
        assert matte[inside < 0.92].min() > 0.95 and matte[inside > 1.1].max() < 0.05

    def test_the_network_sees_the_face_in_its_crop(self, collins: Still, codec: Codec) -> None:
        networks, stand_in = network("mask", labels(OVAL))
        FsganMask(networks).measure_mattes(collins.frame(codec), params=RAW)
        (given,) = stand_in.given
        assert given.shape == (1, 3, 128, 128) and given.dtype == np.float32
        assert given.min() >= -1 and given.max() <= 1
        crop = compute_face_crop(collins.face, 1.2, 128)
        x, y = np.round(crop.denormalise_points(np.array([0.5, 0.5]))).astype(int)
        share = (crop.normalise_points(np.array([x, y])) * 128 - 0.5).round().astype(int)
        own = codec.encode(collins.plate.pixels[y, x][None])[0]
        assert given[0, :, share[1], share[0]] * 0.5 + 0.5 == pytest.approx(own, abs=0.05)

    def test_the_outline_is_as_fine_as_the_plate(self, collins: Still, codec: Codec) -> None:
        """A coarse network's straight edge does not become a staircase."""
        slope = (0.8 * X + Y) < 0.9
        matte = masked(collins, codec, labels(slope)).get_matte("matte.face")
        where = shares(collins)
        distance = (0.8 * where[..., 0] + where[..., 1] - 0.9) / np.hypot(0.8, 1)
        near = (np.linalg.norm(where - 0.5, axis=-1) < 0.2) & (np.abs(distance) > 1.5 / 128)
        assert near.sum() > 500
        assert np.array_equal(matte[near] > 0.5, distance[near] < 0)

    def test_another_face_in_the_crop_is_left_out(self, collins: Still, codec: Codec) -> None:
        everything = np.ones_like(OVAL)
        matte = masked(collins, codec, labels(everything)).get_matte("matte.face")
        hull = collins.mattes(codec, MaskParams(refine=0.0, occlusions=0.0, feather=0.0)).get_matte("matte.face") > 0.9
        assert matte[hull].min() > 0.99
        distance = cv2.distanceTransform((hull == 0).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
        far = distance > 0.25 * collins.width
        assert far.sum() > 500 and not matte[far].any()


class TestLayers:
    def test_layers(self, collins: Still, codec: Codec) -> None:
        hair = Y < 0.3
        networks, _ = network("mask", labels(OVAL, hair))
        measured = FsganMask(networks).measure_mattes(collins.frame(codec), params=RAW)
        assert measured.channels[:7] == (*MATTES, *SCORE_CHANNELS)
        result = masked(collins, codec, labels(OVAL, hair))
        assert result.channels == MATTES
        assert result.pixels.min() >= 0 and result.pixels.max() <= 1
        assert len(read_texture(result)) == len(read_texture(collins.mattes(codec)))
        top = shares(collins)[..., 1] < 0.28
        inside = (np.abs(shares(collins) - 0.5) < 0.45).all(-1)
        assert result.get_matte("matte.hair")[top & inside].min() > 0.95
        assert result.get_matte("matte.face")[top].max() < 0.05

    def test_what_is_neither_is_in_front(self, collins: Still, codec: Codec) -> None:
        hand = (np.abs(X - 0.5) < 0.1) & (np.abs(Y - 0.75) < 0.05)
        result = masked(collins, codec, labels(OVAL & ~hand))
        there = (np.abs(shares(collins) - (0.5, 0.75)) < (0.08, 0.03)).all(-1)
        assert result.get_matte("matte.occlusion")[there].min() > 0.95
        assert result.get_matte("matte.face")[there].max() < 0.05

    def test_the_artists_amounts(self, collins: Still, codec: Codec) -> None:
        hair, hand = Y < 0.45, (np.abs(X - 0.5) < 0.1) & (np.abs(Y - 0.75) < 0.05)
        function = labels(OVAL & ~hand, hair)
        brows = (np.abs(shares(collins) - (0.5, 0.42)) < 0.02).all(-1)
        front = (np.abs(shares(collins) - (0.5, 0.75)) < (0.08, 0.03)).all(-1)
        for amount in (0.0, 0.5, 1.0):
            matte = masked(collins, codec, function, RAW.replace(refine=amount)).get_matte("matte.face")
            assert matte[brows] == pytest.approx(1 - amount, abs=0.05)
            matte = masked(collins, codec, function, RAW.replace(occlusions=amount)).get_matte("matte.face")
            assert matte[front] == pytest.approx(1 - amount, abs=0.05)

    def test_mouth_size_feather_and_holdout(self, collins: Still, codec: Codec) -> None:
        plain = masked(collins, codec, labels(OVAL)).get_matte("matte.face")
        holdout = np.zeros_like(plain)
        holdout[:, :70] = 1
        held = masked(collins, codec, labels(OVAL), holdout=holdout).get_matte("matte.face")
        assert not held[:, :70].any() and np.array_equal(held[:, 70:], plain[:, 70:])
        small = masked(collins, codec, labels(OVAL), RAW.replace(size=-6.0)).get_matte("matte.face")
        assert small.sum() < 0.9 * plain.sum()
        soft = masked(collins, codec, labels(OVAL), RAW.replace(feather=0.1)).get_matte("matte.face")
        assert soft.sum() < 0.95 * plain.sum() and not soft[plain == 0].any()
        result = masked(collins, codec, labels(OVAL), RAW.replace(mouth=False))
        mouth = result.get_matte("matte.mouth") > 0.9
        assert mouth.sum() > 10 and result.get_matte("matte.face")[mouth].max() < 0.15

    def test_forehead(self, collins: Still, codec: Codec) -> None:
        """Above a hairline that is lowered to the brows there is nothing, below it all is as it was."""
        everything = labels(np.ones_like(OVAL))
        plain, low = (
            masked(collins, codec, everything, RAW.replace(forehead=amount)).get_matte("matte.face")
            for amount in (1.0, 0.0)
        )
        y, x = np.round(collins.face.landmarks[27] - (collins.region.x, collins.region.y)).astype(int)[::-1]
        height = collins.face.landmarks[8, 1] - collins.face.landmarks[27, 1]
        assert plain[round(y - 0.35 * height), x] > 0.99 and low[round(y - 0.35 * height), x] < 0.01
        assert np.abs(plain - low)[y + 3 :].max() < 0.02


class TestTime:
    def moved(self, still: Still, shift: tuple[int, int], frame: int) -> Still:
        pixels = np.roll(still.plate.pixels, shift[::-1], (0, 1))
        return replace(still.painted(pixels), face=face_at(still.face.landmarks + shift, frame))

    def test_scores_are_carried_along_and_averaged(self, collins: Still, codec: Codec) -> None:
        """A frame that the network gets wrong is outvoted by its neighbours, moved to where the face is."""
        before, after = self.moved(collins, (-8, 4), 0), self.moved(collins, (6, 0), 2)
        measured: list[tuple[Face, Plate]] = []
        for still, function in ((before, labels(OVAL)), (collins, labels(~OVAL)), (after, labels(OVAL))):
            networks, _ = network("mask", function)
            measured.append((still.face, FsganMask(networks).measure_mattes(still.frame(codec), params=RAW)))
        mean = (
            FsganMask(networks)
            .combine_mattes(collins.frame(codec), neighbours=measured, params=RAW.replace(smooth=4))
            .get_matte("matte.face")
        )
        alone = (
            FsganMask(networks)
            .combine_mattes(collins.frame(codec), neighbours=measured[1:2], params=RAW)
            .get_matte("matte.face")
        )
        inside = oval(collins)
        assert mean[inside < 0.9].min() > 0.9 and mean[inside > 1.12].max() < 0.1
        assert alone[inside < 0.9].max() < 0.1


class TestTrouble:
    def test_no_network(self, collins: Still, codec: Codec) -> None:
        with pytest.raises(EngineError, match=r"mask\.network"):
            FsganMask({}).measure_mattes(collins.frame(codec), params=RAW)

    def test_no_number(self, collins: Still, codec: Codec) -> None:
        with pytest.raises(EngineError, match="fp32"):
            masked(collins, codec, lambda batch: np.full((1, 3, 128, 128), np.nan))

    def test_a_face_at_the_frames_edge(self, collins: Still, codec: Codec) -> None:
        still = Still(collins.plate, face_at(collins.face.landmarks - (90, 0)))
        result = masked(still, codec, labels(np.ones_like(OVAL)))
        outside = np.arange(still.region.width) + still.region.x < 0
        assert outside.sum() > 20
        assert not result.get_matte("matte.face")[:, outside].any()
        assert result.get_matte("matte.face")[:, ~outside].max() > 0.99

    def test_a_real_network(self, collins: Still, codec: Codec) -> None:
        networks = module_network("mask", "res_unet.MultiScaleResUNet(in_nc=3,out_nc=3,flat_layers=(1,1),ngf=8)")
        measured = FsganMask(networks).measure_mattes(collins.frame(codec), params=RAW.replace(resolution=64))
        assert np.isfinite(measured.pixels).all()
        assert np.abs(measured.get(*SCORE_CHANNELS)).max() > 0


class TestHoles:
    def test_small_ones_are_closed(self) -> None:
        matte = np.ones((100, 100), np.float32)
        matte[:10] = 0  # the outside
        matte[30:36, 30:36], matte[60:80, 60:80], matte[8:14, 70:72] = 0, 0, 0
        closed = close_holes(matte, 10)
        assert closed[30:36, 30:36].all(), "6 pixels wide"
        assert not closed[60:80, 60:80].any(), "20 pixels wide"
        assert np.array_equal(closed[:20], matte[:20]), "a notch is no hole"


class TestHardMatte:
    def test_feather_plays_no_part(self, collins: Still, codec: Codec) -> None:
        """Completion and blending see one hard matte, whatever the mask's soft edge is."""
        stand_in = network("inpaint", same_picture)[0]["inpaint"]
        crop = compute_face_crop(collins.face, 1.2, 256)
        hard = [
            compute_network_mattes(stand_in, collins.mattes(codec, MaskParams(feather=feather)), None, crop, False)[1]
            for feather in (0.0, 0.07, 0.2)
        ]
        assert hard[1].mean() > 0.1
        for other in (hard[0], hard[2]):
            assert np.abs(other - hard[1]).mean() < 0.05 * hard[1].mean(), "a pixel along the edge"


def test_dark_lenses_stay(collins: Still, codec: Codec) -> None:
    """What the network calls face is no face where sunglasses hide the eyes."""
    pixels, eyes = collins.plate.pixels.copy(), collins.face.landmarks[36:48].reshape(2, 6, 2).mean(1)
    radius = 0.27 * float(np.ptp(collins.face.landmarks[36:48, 0]))
    for eye in eyes:
        axes = (round(radius), round(0.8 * radius))
        cv2.ellipse(pixels, np.rint(eye).astype(int), axes, 0, 0, 360, (0.004,) * 3, -1)
    matte = masked(collins.painted(pixels), codec, labels(OVAL)).get_matte("matte.face")
    bare = masked(collins, codec, labels(OVAL)).get_matte("matte.face")
    for x, y in np.rint(eyes - (collins.region.x, collins.region.y)).astype(int):
        assert matte[y, x] < 0.05 and bare[y, x] > 0.9
