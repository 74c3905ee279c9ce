"""The whole swap against the published steps, written down anew from the facts, with networks filled by rule.

The stages run under the preset; the reference below is numpy, OpenCV and torch alone, at the networks' own raster.
Where the crop lies on whole pixels, nothing is resampled between the stages: what is left is a difference of method.
Where it lies between pixels, stages resample what they hand on, since they work in plate space.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, replace

import cv2
import numpy as np
import pytest
import torch
from torch.nn import functional

from fsgan_core.clips.presets import load_preset
from fsgan_core.contract.params import MaskParams
from fsgan_core.contract.shot import Stages
from fsgan_core.faces.landmarkers.landmarks_wflw import from_ibug
from fsgan_core.networks.fold import fold_batch_norm
from fsgan_core.networks.inference import make_runner
from fsgan_core.networks.network import Network
from fsgan_core.networks.weights.catalogue import WeightsInfo
from fsgan_core.plates.colour import Codec
from fsgan_core.plates.plate import Plate, Window
from fsgan_core.plates.region import compute_region
from fsgan_core.stages.interface import FaceFrame
from fsgan_core.stages.leading_view import plan_views
from fsgan_core.stages.neural.fsgan_blend import FsganBlend
from fsgan_core.stages.neural.fsgan_crop import compute_face_crop, compute_view_margin
from fsgan_core.stages.neural.fsgan_inpaint import FsganInpaint
from fsgan_core.stages.neural.fsgan_mask import FsganMask
from fsgan_core.stages.neural.fsgan_reenact import FsganReenact
from fsgan_core.stages.reenactment import prepare_view
from fsgan_core.stages.warp_points import measure_performer
from tests.patterns import patterned
from tests.stages.conftest import Still, plate_at
from tests.stages.stand_ins import on_raster

SIZE = 256
EIGHT_BIT = 1 / 255
# Poses of the source's views and of the target, yaw and pitch: the target lies in the views' only triangle.
VIEW_POSES, TARGET_POSE = ((-14.0, -6.0), (15.0, -4.0), (1.0, 16.0)), (2.0, 1.0)


@dataclass(frozen=True)
class Version:
    """One published version, with narrow networks."""

    preset: str
    crop: float
    landmarks: int
    heat_maps: str
    archs: Mapping[str, str]


V1 = ",flat_layers=(1,0,1,1),ngf=8,version=1)"
V2 = ",flat_layers=(1,1,1,1),ngf=8)"
VERSIONS = {
    "v1": Version(
        "as-published-v1",
        2.0,
        68,
        "patch",
        {
            "reenact": f"res_unet_split.MultiScaleResUNet(in_nc=71,out_nc=(3,3){V1}",
            "mask": "simple_unet.UNet(n_classes=3,feature_scale=8)",
            "inpaint": f"res_unet.MultiScaleResUNet(in_nc=4{V1}",
            "blend": f"res_unet.MultiScaleResUNet(in_nc=7{V1}",
        },
    ),
    "v2": Version(
        "as-published",
        1.2,
        98,
        "cone",
        {
            "reenact": f"res_unet.MultiScaleResUNet(in_nc=101{V2}",
            "mask": "simple_unet_02.UNet(num_classes=3,feature_scale=8)",
            "inpaint": f"res_unet.MultiScaleResUNet(in_nc=4{V2}",
            "blend": f"res_unet.MultiScaleResUNet(in_nc=7{V2}",
        },
    ),
}


@dataclass(frozen=True)
class Placement:
    """Where the heads lie.

    Attributes:
        roll: Degrees, of the target.
        view_rolls: Of the source's views.
        shift: Pixels by which the crops lie beside whole pixels of the plate, or beside the face.
        is_smooth: The networks' answers are smoothed, as those of trained ones are.
    """

    roll: float = 0.0
    view_rolls: tuple[float, float, float] = (0.0, 0.0, 0.0)
    shift: tuple[float, float] = (0.0, 0.0)
    is_smooth: bool = False


PLACEMENTS = {
    "upright": Placement(),
    "rolled": Placement(roll=17.0, view_rolls=(-9.0, 17.0, 4.5)),
    "partly outside the plate": Placement(shift=(-150.0, -120.0)),
}
BETWEEN_PIXELS = {
    "half a pixel": Placement(shift=(0.5, 0.5), is_smooth=True),
    "rolled": Placement(roll=17.0, view_rolls=(-9.0, 17.0, 4.5), shift=(0.37, -0.28), is_smooth=True),
}
# Between pixels the outlines that the networks see move by a fraction of a pixel. So the limit of 1/255 holds from so
# many pixels inside the hard matte; nearer to its edge the mean does.
OUTLINE_REACH, OUTLINE_MEAN = 24, 2 / 255
ANSWER_SIGMA, SCORE_SIGMA = 2.0, 8.0  # pixels, of smooth answers and class scores


# The published steps. Pictures are (3, h, w) in -1..1, mattes (h, w).


def weigh_pixels(places: np.ndarray, count: int) -> np.ndarray:
    """(places, count) Lanczos weights, three lobes, of a row's pixels at places between them; 0 beyond the row."""
    beyond = 2 * SIZE
    offset = np.arange(-beyond, count + beyond) - places[:, None]
    weight = np.where(abs(offset) < 3, np.sinc(offset) * np.sinc(offset / 3), 0)
    return (weight / weight.sum(1, keepdims=True))[:, beyond:-beyond]


def cut(plate: np.ndarray, left: float, top: float) -> np.ndarray:
    """The crop of an sRGB picture (h, w, 3), clipped as 8 bits are, black outside of it.

    `left` and `top` are the first pixel's.
    """
    rows, columns = (
        weigh_pixels(first + np.arange(SIZE), n) for first, n in zip((top, left), plate.shape[:2], strict=True)
    )
    part = np.einsum("ij,jkc,lk->cil", rows, np.clip(plate, 0, 1), columns, optimize=True)
    return (2 * np.clip(part, 0, 1) - 1).astype(np.float32)


def cut_turned(plate: np.ndarray, left: float, top: float, degrees: float) -> np.ndarray:
    """The crop turned clockwise in its plane. Its corners show the plate, where the published ones are black."""
    y, x = np.mgrid[0:SIZE, 0:SIZE] - (SIZE - 1) / 2
    cosine, sine = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    place = np.stack([cosine * x + sine * y + left, cosine * y - sine * x + top], -1) + (SIZE - 1) / 2
    part = cv2.remap(np.clip(plate, 0, 1), place.astype(np.float32), None, cv2.INTER_LANCZOS4)
    return np.moveaxis(2 * np.clip(part, 0, 1) - 1, -1, 0).astype(np.float32)


def run(network: torch.nn.Module, levels: list[np.ndarray]) -> list[np.ndarray]:
    full, half = (torch.from_numpy(level.astype(np.float32))[None] for level in levels)
    with torch.inference_mode():
        outputs = network.enhancer1(full, network.base.compute_features(half))
    return [one[0].numpy() for one in (outputs if isinstance(outputs, tuple) else (outputs,))]


def halve(planes: np.ndarray) -> np.ndarray:
    """Completion and blending: the mean of 3 x 3 pixels at every second one."""
    x = torch.from_numpy(planes.astype(np.float32))[None]
    return functional.avg_pool2d(x, 3, 2, 1, count_include_pad=False)[0].numpy()


def halve_picture(picture: np.ndarray) -> np.ndarray:
    """Reenactment: 1 4 6 4 1 at every second pixel."""
    return np.stack([cv2.pyrDown(plane) for plane in picture])


def draw_maps(version: Version, points: np.ndarray, size: int) -> np.ndarray:
    """points: (n, 2), 0..1 of the crop."""
    maps = np.zeros((len(points), size, size), np.float32)
    y, x = np.mgrid[0:size, 0:size]
    for heat_map, (u, v) in zip(maps, points, strict=True):
        if version.heat_maps == "cone":
            distance = np.hypot((x + 0.5) / size - u, (y + 0.5) / size - v)
            heat_map[:] = np.maximum((((np.sqrt(2) - distance) / np.sqrt(2)) ** 8 - 0.8) / 0.2, 0)
        else:
            reach = 3 * max(1, round(size / 128))
            across, down = x - (np.floor(u * size) - 1), y - (np.floor(v * size) - 1)
            patch = np.exp(-(across**2 + down**2) / (2 * (0.25 * (2 * reach + 1)) ** 2))
            heat_map[:] = patch * (np.maximum(abs(across), abs(down)) <= reach)
    return maps


def segment(network: torch.nn.Module, picture: np.ndarray) -> np.ndarray:
    with torch.inference_mode():
        return network(torch.from_numpy(picture.astype(np.float32))[None])[0].numpy().argmax(0) == 1


def erode(matte: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    offset = np.arange(21) - 10
    distance = np.hypot(offset[:, None], offset[None])
    kernel = (distance.max() - distance) / (distance.max() - distance).sum()
    blurred = cv2.filter2D(matte.astype(np.float32), -1, kernel, borderType=cv2.BORDER_CONSTANT)
    rim = np.where(blurred >= 0.6, 0, blurred)
    return np.where(blurred >= 0.6, 1, rim / rim.max()), (blurred >= 0.6).astype(np.float32)


def barycentric() -> np.ndarray:
    corners = np.vstack([np.array(VIEW_POSES).T, np.ones(3)])
    return np.linalg.solve(corners, [*TARGET_POSE, 1.0])


def reenact_as_published(
    version: Version, network: torch.nn.Module, sources: list[np.ndarray], points: np.ndarray
) -> list[np.ndarray]:
    """The weighted sums of the network's outputs."""
    maps = [draw_maps(version, points, size) for size in (SIZE, SIZE // 2)]
    answers = [
        run(network, [np.concatenate([source, maps[0]]), np.concatenate([halve_picture(source), maps[1]])])
        for source in sources
    ]
    return [sum(w * one[k] for w, one in zip(barycentric(), answers, strict=True)) for k in range(len(answers[0]))]


def swap_as_published(
    version: Version, networks: Mapping[str, torch.nn.Module], total: list[np.ndarray], target: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The crop's picture, and where it was drawn (the hard matte). total: of `reenact_as_published`."""
    face = total[1].argmax(0) == 1 if version.crop == 2.0 else segment(networks["mask"], total[0])
    reenacted = np.where(face, total[0], -1)
    matte = segment(networks["mask"], target).astype(np.float32)
    soft, hard = (matte, matte) if version.crop == 2.0 else erode(matte)
    given = np.concatenate([reenacted, hard[None]])
    completed = run(networks["inpaint"], [given, halve(given)])[0]
    transfer = completed * hard + target * (1 - hard)
    given = np.concatenate([transfer, target, hard[None]])
    blended = run(networks["blend"], [given, halve(given)])[0]
    return blended * soft + target * (1 - soft), hard


# The same by the stages.


def enlarge(still: Still) -> Still:
    """Twice as large, so that the crop holds a face of its usual size."""
    pixels = cv2.resize(still.plate.pixels, None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC)
    face = replace(still.face, landmarks=(still.face.landmarks + 0.5) * 2 - 0.5)
    return Still(plate_at(np.clip(pixels, 0, 1)), face)


def place_still(still: Still, version: Version, frame: int, pose: tuple[float, float], roll: float) -> Still:
    """The still, rolled, on the crop's raster, with a pose."""
    middle = still.face.landmarks.mean(0)
    turn = cv2.getRotationMatrix2D(middle, -roll, 1.0)
    size = still.plate.pixels.shape[1::-1]
    pixels = cv2.warpAffine(still.plate.pixels, turn, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    landmarks = still.face.landmarks @ turn[:, :2].T + turn[:, 2]
    face = replace(still.face, landmarks=landmarks, frame=frame, euler=(*pose, roll), wflw=from_ibug(landmarks))
    return on_raster(replace(still.painted(pixels), face=face), SIZE, version.crop)


def shift_crop(still: Still, shift: tuple[float, float]) -> Still:
    x, y, width, height = still.face.box
    return replace(still, face=replace(still.face, box=(x + shift[0], y + shift[1], width, height)))


class Smoothed(torch.nn.Module):
    """A network whose answers are blurred."""

    def __init__(self, module: torch.nn.Module, sigma: float) -> None:
        super().__init__()
        self.module, self.sigma = module, sigma

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor | tuple[torch.Tensor, ...]:
        outputs = self.module(*inputs)
        if isinstance(outputs, tuple):
            return tuple(self.blur(one) for one in outputs)
        return self.blur(outputs)

    def blur(self, batch: torch.Tensor) -> torch.Tensor:
        planes = batch.numpy().reshape(-1, *batch.shape[2:])
        blurred = np.stack([cv2.GaussianBlur(plane, (0, 0), self.sigma) for plane in planes])
        return torch.from_numpy(blurred).reshape(batch.shape)


def fill(version: Version, is_smooth: bool) -> dict[str, torch.nn.Module]:
    networks = {role: patterned(arch) for role, arch in version.archs.items()}
    networks["reenact"].has_half_maps = True  # as for installed weights
    networks["mask"] = fold_batch_norm(networks["mask"])
    if is_smooth:
        networks["mask"].final = Smoothed(networks["mask"].final, SCORE_SIGMA)
        for role in ("reenact", "inpaint", "blend"):
            networks[role].enhancer1 = Smoothed(networks[role].enhancer1, ANSWER_SIGMA)
    return networks


def move_bias(network: torch.nn.Module, target: np.ndarray, reenacted: np.ndarray) -> None:
    """Make about two fifths of the target's crop face, and no pixel's class depend on how sums are rounded.

    One such pixel would spread over the networks' reach.
    """
    with torch.inference_mode():
        scores = network(torch.from_numpy(np.stack([target, reenacted])))
    ahead = (torch.maximum(scores[:, 0], scores[:, 2]) - scores[:, 1]).flatten(1)
    low, high = ahead[0].quantile(torch.tensor([0.39, 0.41]))
    near = ahead[(ahead > low) & (ahead < high)].sort().values
    widest = int(near.diff().argmax())
    final = network.final.module if isinstance(network.final, Smoothed) else network.final
    final.bias[1] += near[widest : widest + 2].mean()


@dataclass(frozen=True)
class PlainRunner:
    """Runs a module as it is."""

    module: torch.nn.Module

    @property
    def takes_half_maps(self) -> bool:
        return getattr(self.module, "has_half_maps", False)

    def run(self, batch: torch.Tensor) -> torch.Tensor | tuple[torch.Tensor, ...]:
        with torch.inference_mode():
            return self.module(batch)


@dataclass(frozen=True)
class Swapped:
    """A swap both ways, sRGB.

    Attributes:
        wanted: (3, 256, 256) the published crop, -1..1.
        hard: (256, 256) the published hard matte.
        got: (height, width, 3) the plate that the stages made.
        before: (height, width, 3) the target plate.
        left: The crop's first pixel on the plate.
        top: The same.
    """

    wanted: np.ndarray
    hard: np.ndarray
    got: np.ndarray
    before: np.ndarray
    left: float
    top: float


def swap_both_ways(version: Version, placement: Placement, collins: Still, hopper: Still, codec: Codec) -> Swapped:
    plain = codec.without_shoulder()
    target = shift_crop(place_still(enlarge(collins), version, 1, TARGET_POSE, placement.roll), placement.shift)
    large = enlarge(hopper)
    sources = [
        shift_crop(place_still(large.painted(large.plate.pixels * gain), version, number, pose, roll), placement.shift)
        for number, (pose, roll, gain) in enumerate(
            zip(VIEW_POSES, placement.view_rolls, (1.0, 0.7, 0.4), strict=True), 1
        )
    ]
    crops = [compute_face_crop(still.face, version.crop, SIZE) for still in (*sources, target)]
    corners = [(crop.left + 0.5, crop.top + 0.5) for crop in crops]
    encoded = [plain.encode(still.plate.get("R", "G", "B")) for still in (*sources, target)]
    turns = [placement.roll - still.face.euler[2] if version.crop == 1.2 else 0.0 for still in (*sources, target)]
    pictures = [
        cut_turned(picture, *corner, turn) if turn else cut(picture, *corner)
        for picture, corner, turn in zip(encoded, corners, turns, strict=True)
    ]
    modules = fill(version, placement.is_smooth)
    left, top = corners[-1]
    points = target.face.wflw if version.landmarks == 98 else target.face.landmarks
    points = (points - (left, top) + 0.5) / SIZE
    total = reenact_as_published(version, modules["reenact"], pictures[:-1], points)
    move_bias(modules["mask"], pictures[-1], total[0].astype(np.float32))
    wanted, hard = swap_as_published(version, modules, total, pictures[-1])
    assert 0.1 < hard.mean() < 0.9
    networks = {
        role: Network(
            WeightsInfo(
                name=role,
                role=role,
                arch=version.archs[role],
                landmarks=version.landmarks if role == "reenact" else 0,
                crop=version.crop,
                heat_maps=version.heat_maps,
            ),
            PlainRunner(module) if placement.is_smooth else make_runner(deepcopy(module), precision="fp32"),
        )
        for role, module in modules.items()
    }
    stages = Stages().with_settings(load_preset(version.preset).settings)
    made = swap_by_stages(networks, stages, sources, target, codec)
    return Swapped(wanted, hard, plain.encode(made.get("R", "G", "B")), encoded[-1], left, top)


@pytest.mark.parametrize("placement", PLACEMENTS)
@pytest.mark.parametrize("name", VERSIONS)
def test_the_stages_give_the_published_picture(
    name: str, placement: str, collins: Still, hopper: Still, codec: Codec
) -> None:
    swap = swap_both_ways(VERSIONS[name], PLACEMENTS[placement], collins, hopper, codec)

    def cut_area(area: np.ndarray) -> np.ndarray:
        """Where the crop shows an area (h, w, 3) of the plate."""
        return np.moveaxis(cut(area.astype(np.float32), round(swap.left), round(swap.top)), 0, -1) > 0

    got = cut(swap.got, round(swap.left), round(swap.top))
    error = np.moveaxis(np.abs(got - swap.wanted), 0, -1) / 2
    shown = cut_area(np.ones_like(swap.got))
    assert shown.all() == (placement != "partly outside the plate")
    inside = (swap.hard > 0)[..., None] & shown
    assert inside.mean() > 0.05
    assert error[inside].max() < EIGHT_BIT
    # On the soft edge the plate keeps what lies outside 0..1, which 8 bits do not hold.
    held = cut_area(np.clip(swap.before, 0, 1) == swap.before)
    assert held[shown].mean() > 0.7
    assert error[shown & held].max() < EIGHT_BIT


@pytest.mark.parametrize("placement", BETWEEN_PIXELS)
@pytest.mark.parametrize("name", VERSIONS)
def test_a_crop_between_pixels(name: str, placement: str, collins: Still, hopper: Still, codec: Codec) -> None:
    """The plate against the published crop, brought to its pixels."""
    swap = swap_both_ways(VERSIONS[name], BETWEEN_PIXELS[placement], collins, hopper, codec)
    height, width = swap.got.shape[:2]
    rows, columns = weigh_pixels(np.arange(height) - swap.top, SIZE), weigh_pixels(np.arange(width) - swap.left, SIZE)
    wanted = np.einsum("ij,cjk,lk->ilc", rows, swap.wanted / 2 + 0.5, columns, optimize=True)
    depth = cv2.distanceTransform(np.pad(swap.hard, 1).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)[1:-1, 1:-1]
    place = np.array([[1, 0, swap.left], [0, 1, swap.top]])
    depth = cv2.warpAffine(depth, place, (width, height), flags=cv2.INTER_LINEAR)
    error = np.abs(swap.got - wanted).max(-1)
    deep = depth > OUTLINE_REACH
    assert deep.sum() > 1000
    assert error[deep].max() < EIGHT_BIT
    assert error[depth > 1].mean() < OUTLINE_MEAN


def swap_by_stages(
    networks: Mapping[str, Network], stages: Stages, sources: list[Still], target: Still, codec: Codec
) -> Plate:
    region: Window = compute_region(target.face.box, stages.reenact.margin, 1.0)
    frame = FaceFrame(target.plate, target.face, region, codec)
    source = measure_performer({still.face.frame: still.face for still in sources})
    plan = plan_views([source], measure_performer({1: target.face}), stages.reenact, ["source"])[1]
    assert sorted(w.light for w in plan.views) == pytest.approx(sorted(barycentric()))
    margin = compute_view_margin(networks["reenact"].info.crop)
    views = {
        w.view: prepare_view(still.plate, still.face, codec, MaskParams(), margin)
        for w in plan.views
        for still in (sources[w.view.frame - 1],)
    }
    reenacted = FsganReenact(networks).reenact(frame, plan=plan, views=views, params=stages.reenact)
    mask = FsganMask(networks)
    measured = mask.measure_mattes(frame, params=stages.mask)
    mattes = mask.combine_mattes(frame, neighbours=[(target.face, measured)], params=stages.mask)
    completed = FsganInpaint(networks).inpaint(
        frame, reenacted=reenacted, mattes=mattes, further_views=lambda: (), params=stages.inpaint
    )
    return FsganBlend(networks).blend(frame, completed=completed, mattes=mattes, params=stages.blend).plate
