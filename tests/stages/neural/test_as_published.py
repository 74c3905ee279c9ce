"""The whole swap against the published steps, written down anew from the facts, with networks filled by rule.

The stages run under the preset; the reference below is numpy and torch alone, at the networks' own raster. The crops
lie on whole pixels and the heads have one roll, so nothing is resampled: what is left is a difference of method.
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
from fsgan_core.stages.neural.fsgan_blend import FsganBlend
from fsgan_core.stages.neural.fsgan_crop import compute_face_crop, compute_view_margin
from fsgan_core.stages.neural.fsgan_inpaint import FsganInpaint
from fsgan_core.stages.neural.fsgan_mask import FsganMask
from fsgan_core.stages.neural.fsgan_reenact import FsganReenact
from fsgan_core.stages.reenactment import prepare_view
from fsgan_core.stages.views import plan_views
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


# The published steps. Pictures are (3, h, w) in -1..1, mattes (h, w).


def cut(plate: np.ndarray, left: int, top: int) -> np.ndarray:
    """The crop of an sRGB picture (h, w, 3), clipped as 8 bits are, black outside of it."""
    padded = cv2.copyMakeBorder(np.clip(plate, 0, 1), SIZE, SIZE, SIZE, SIZE, cv2.BORDER_CONSTANT, value=0)
    part = padded[top + SIZE : top + 2 * SIZE, left + SIZE : left + 2 * SIZE]
    return np.moveaxis(2 * part - 1, -1, 0).astype(np.float32)


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


def swap_as_published(
    version: Version,
    networks: Mapping[str, torch.nn.Module],
    sources: list[np.ndarray],
    target: np.ndarray,
    points: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """The crop's picture, and where it was drawn (the hard matte)."""
    maps = [draw_maps(version, points, size) for size in (SIZE, SIZE // 2)]
    answers = [
        run(networks["reenact"], [np.concatenate([source, maps[0]]), np.concatenate([halve_picture(source), maps[1]])])
        for source in sources
    ]
    total = [sum(w * one[k] for w, one in zip(barycentric(), answers, strict=True)) for k in range(len(answers[0]))]
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


def upright(still: Still, version: Version, frame: int, pose: tuple[float, float]) -> Still:
    """The still on the crop's raster, with a pose and no roll."""
    face = replace(still.face, frame=frame, euler=(*pose, 0.0), wflw=from_ibug(still.face.landmarks))
    return on_raster(replace(still, face=face), SIZE, version.crop)


def fill(version: Version, target: np.ndarray) -> dict[str, torch.nn.Module]:
    """Networks by rule; the segmentation's bias is moved so that two fifths of the target's crop are face."""
    networks = {role: patterned(arch) for role, arch in version.archs.items()}
    networks["reenact"].has_half_maps = True  # as for installed weights
    with torch.inference_mode():
        scores = networks["mask"](torch.from_numpy(target)[None])[0]
        ahead = torch.maximum(scores[0], scores[2]) - scores[1]
        networks["mask"].final.bias[1] += torch.quantile(ahead, 0.4)
    return networks


@pytest.mark.parametrize("name", VERSIONS)
def test_the_stages_give_the_published_picture(name: str, collins: Still, hopper: Still, codec: Codec) -> None:
    plain = codec.without_shoulder()
    version = VERSIONS[name]
    stages = Stages().with_settings(load_preset(version.preset).settings)
    target = upright(enlarge(collins), version, 1, TARGET_POSE)
    sources = [
        upright(enlarge(hopper), version, number, pose).painted(enlarge(hopper).plate.pixels * gain)
        for number, (pose, gain) in enumerate(zip(VIEW_POSES, (1.0, 0.7, 0.4), strict=True), 1)
    ]
    crops = [compute_face_crop(still.face, version.crop, SIZE) for still in (*sources, target)]
    corners = [(round(crop.left + 0.5), round(crop.top + 0.5)) for crop in crops]
    pictures = [
        cut(plain.encode(still.plate.get("R", "G", "B")), *corner)
        for still, corner in zip((*sources, target), corners, strict=True)
    ]
    modules = fill(version, pictures[-1])
    # One pixel of a class that two ways to round give differently would spread over the networks' reach.
    reference = {**modules, "mask": fold_batch_norm(deepcopy(modules["mask"]))}
    points = target.face.wflw if version.landmarks == 98 else target.face.landmarks
    wanted, hard = swap_as_published(
        version, reference, pictures[:-1], pictures[-1], crops[-1].normalise_points(points)
    )
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
            make_runner(module, precision="fp32"),
        )
        for role, module in modules.items()
    }
    made = swap_by_stages(networks, stages, sources, target, codec)
    x, y = corners[-1]
    got = np.moveaxis(cut(plain.encode(made.get("R", "G", "B")), x, y), 0, -1)
    error = np.abs(got - np.moveaxis(wanted, 0, -1)) / 2
    shown = np.moveaxis(cut(np.ones_like(made.get("R", "G", "B")), x, y), 0, -1) > 0  # the plate ends within the crop
    inside = (hard > 0)[..., None] & shown
    assert inside.mean() > 0.05
    assert error[inside].max() < EIGHT_BIT
    # On the soft edge the plate keeps what lies outside 0..1, which 8 bits do not hold.
    held = plain.encode(target.plate.get("R", "G", "B"))
    held = np.moveaxis(cut((np.clip(held, 0, 1) == held).astype(np.float32), x, y), 0, -1) > 0
    assert held[shown].mean() > 0.7
    assert error[shown & held].max() < EIGHT_BIT


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
        w.view: prepare_view(
            sources[w.view.frame - 1].plate, sources[w.view.frame - 1].face, codec, MaskParams(), margin
        )
        for w in plan.views
    }
    reenacted = FsganReenact(networks).reenact(frame, plan=plan, views=views, params=stages.reenact)
    mask = FsganMask(networks)
    measured = mask.measure_mattes(frame, params=stages.mask)
    mattes = mask.combine_mattes(frame, neighbours=[(target.face, measured)], params=stages.mask)
    completed = FsganInpaint(networks).inpaint(
        frame, reenacted=reenacted, mattes=mattes, further_views=lambda: (), params=stages.inpaint
    )
    return FsganBlend(networks).blend(frame, completed=completed, mattes=mattes, params=stages.blend).plate
