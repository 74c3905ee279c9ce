"""Small things on pictures that several stages need: display-like regions, polygons, distances, filters."""

from __future__ import annotations

import cv2
import numpy as np

from fsgan_core.contract.layers import RGB
from fsgan_core.plates.colour import Codec
from fsgan_core.plates.plate import Plate, Window, compute_slices


def to_display(plate: Plate, window: Window, codec: Codec) -> np.ndarray:
    """float32 (height, width, 3): `padded` in the codec's display-like values."""
    return codec.encode(pad_plate(plate, window))


def to_perceptual(rgb: np.ndarray, exposure: float) -> np.ndarray:
    """Scene-linear `rgb` (..., 3), any range, in steps as the eye sees them: sRGB's curve with no upper end, mirrored
    below 0, after `exposure` stops. Equal to display-like values up to about 0.8. Highlights stay as far apart as they
    look, so that adding to them or mixing them does not explode, which a shoulder's inverse would. NaN becomes 0,
    infinity the largest half float."""
    x = np.nan_to_num(np.asarray(rgb, np.float32), nan=0.0, posinf=65504.0, neginf=-65504.0) * np.float32(2.0**exposure)
    size = np.abs(x)
    curve = np.where(size <= 0.0031308, 12.92 * size, 1.055 * np.maximum(size, 1e-9) ** np.float32(1 / 2.4) - 0.055)
    return np.copysign(curve, x).astype(np.float32)


def to_scene_linear(perceptual: np.ndarray, exposure: float) -> np.ndarray:
    """The inverse of `perceived`."""
    size = np.abs(perceptual)
    linear = np.where(size <= 0.04045, size / 12.92, ((size + 0.055) / 1.055) ** np.float32(2.4))
    return (np.copysign(linear, perceptual) * np.float32(2.0**-exposure)).astype(np.float32)


def pad_plate(plate: Plate, window: Window) -> np.ndarray:
    """float32 (height, width, 3): the plate's R, G, B on `window`; outside the plate its nearest pixels are repeated,
    so that nothing is measured on black that is not there; pixels that are no numbers are filled from around. All
    zero where they do not meet."""
    common = window.intersect(plate.data_window)
    if common.empty:
        return np.zeros((window.height, window.width, 3), np.float32)
    part = fill_nonfinite(plate.get(*RGB)[compute_slices(common, plate.data_window)])
    return cv2.copyMakeBorder(
        part,
        common.y - window.y,
        window.bottom - common.bottom,
        common.x - window.x,
        window.right - common.right,
        cv2.BORDER_REPLICATE,
    )


def fill_nonfinite(rgb: np.ndarray) -> np.ndarray:
    """`rgb` (h, w, 3) with its NaN and infinite pixels replaced by a smooth continuation of those around them; the
    same array where there are none."""
    good = np.isfinite(rgb).all(-1)
    if good.all():
        return rgb
    filled = np.where(good[..., None], rgb, np.float32(0))
    weight = good.astype(np.float32)
    known, sigma = weight.copy(), 1.0
    while sigma < max(good.shape) and (known < 0.01).any():
        blurred = cv2.GaussianBlur(filled * weight[..., None], (0, 0), sigma, borderType=cv2.BORDER_REPLICATE)
        total = cv2.GaussianBlur(weight, (0, 0), sigma, borderType=cv2.BORDER_REPLICATE)
        reached = (known < 0.01) & (total > 0.01)
        filled[reached] = blurred[reached] / total[reached, None]
        known[reached] = 1
        sigma *= 2
    return np.asarray(filled)


def clip01(matte: np.ndarray) -> np.ndarray:
    """A matte whoever made it: within 0..1, 0 where it is no number."""
    return np.asarray(np.clip(np.nan_to_num(matte), 0, 1), np.float32)


def mark_plate_area(plate: Plate, window: Window) -> np.ndarray:
    """float32 (height, width): 1 where `window` lies in the plate's data window."""
    inside = np.zeros((window.height, window.width), np.float32)
    common = window.intersect(plate.data_window)
    if not common.empty:
        inside[common.y - window.y : common.bottom - window.y, common.x - window.x : common.right - window.x] = 1
    return inside


def draw_polygon(points: np.ndarray, window: Window, feather: float = 0.0) -> np.ndarray:
    """float32 (height, width), 0..1: the polygon `points` (n, 2), plate coordinates, anti-aliased; `feather` is the
    sigma of a blur in pixels."""
    matte = np.zeros((window.height, window.width), np.uint8)
    corners = np.round((points - (window.x, window.y)) * 16).astype(np.int32)
    cv2.fillPoly(matte, [corners], 255, cv2.LINE_AA, 4)
    soft = matte.astype(np.float32) / 255
    return cv2.GaussianBlur(soft, (0, 0), feather) if feather > 0.3 else soft


def premultiply(rgb: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """(h, w, 4) from straight colour and alpha."""
    return np.dstack([rgb * alpha[..., None], alpha]).astype(np.float32)


def unpremultiply(plate: Plate) -> tuple[np.ndarray, np.ndarray]:
    """Straight colour (h, w, 3), 0 where alpha is 0, and alpha (h, w) of a premultiplied plate."""
    alpha = clip01(plate.get_matte("A"))
    safe = np.where(alpha > 1e-6, alpha, 1)[..., None]
    return np.where(alpha[..., None] > 1e-6, plate.get(*RGB) / safe, 0).astype(np.float32), alpha


def measure_signed_distance(matte: np.ndarray) -> np.ndarray:
    """float32 (h, w): pixels to the matte's edge at one half, positive inside, to a fraction of a pixel."""
    inside = (matte >= 0.5).astype(np.uint8)
    if not inside.any():
        return np.full(matte.shape, -1e6, np.float32)
    if inside.all():
        return np.full(matte.shape, 1e6, np.float32)
    distance = cv2.distanceTransform(inside, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    distance = distance - cv2.distanceTransform(1 - inside, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    distance = distance + np.where(inside > 0, np.float32(-0.5), np.float32(0.5))
    # At the edge itself the matte's own value says where within the pixel it passes.
    edge = np.abs(distance) <= 0.5
    return np.where(edge, np.clip(matte - 0.5, -0.5, 0.5), distance).astype(np.float32)


def smoothstep(x: np.ndarray) -> np.ndarray:
    """0 below 0, 1 above 1, smooth between."""
    t = np.clip(x, 0, 1)
    return np.asarray(t * t * (3 - 2 * t))


def blur_weighted(picture: np.ndarray, weight: np.ndarray, sigma: float, aspect: float = 1.0) -> np.ndarray:
    """Blur of `picture` (h, w[, c]) that only looks where `weight` (h, w) is: normalised convolution. sigma: rows;
    `aspect` times fewer columns."""
    full = weight if picture.ndim == 2 else weight[..., None]
    # The blur is so wide that it may as well be done on fewer pixels.
    across, down = max(1, int(sigma / aspect / 4)), max(1, int(sigma / 4))
    size = (max(1, -(-picture.shape[1] // across)), max(1, -(-picture.shape[0] // down)))
    sizes = sigma / aspect / across, sigma / down
    values = cv2.resize(picture * full, size, interpolation=cv2.INTER_AREA)
    weights = cv2.resize(weight, size, interpolation=cv2.INTER_AREA)
    values = cv2.GaussianBlur(values, (0, 0), sizes[0], sigmaY=sizes[1], borderType=cv2.BORDER_CONSTANT)
    weights = cv2.GaussianBlur(weights, (0, 0), sizes[0], sigmaY=sizes[1], borderType=cv2.BORDER_CONSTANT)
    weights = np.maximum(weights, 1e-6)
    blurred = values / (weights if picture.ndim == 2 else weights[..., None])
    return cv2.resize(blurred, picture.shape[1::-1], interpolation=cv2.INTER_LINEAR)


def apply_guided_filter(
    matte: np.ndarray, guide: np.ndarray, full_guide: np.ndarray, radius: int, epsilon: float
) -> np.ndarray:
    """`matte` (h, w) brought to the raster of `full_guide` (H, W, 3), its edges on the picture's: the guided filter
    with a colour guide (He, Sun, Tang 2010), fitted on the small raster of `guide` (h, w, 3), applied on the large.
    epsilon: variance of the guide below which it counts as flat."""
    size = (2 * radius + 1, 2 * radius + 1)

    def blur_box(x: np.ndarray) -> np.ndarray:
        return cv2.blur(x, size, borderType=cv2.BORDER_REFLECT)

    guide_mean, matte_mean = blur_box(guide), blur_box(matte)
    covariance = blur_box(guide * matte[..., None]) - guide_mean * matte_mean[..., None]
    variance = np.empty((*matte.shape, 3, 3), np.float32)
    for i in range(3):
        for j in range(i, 3):
            variance[..., i, j] = blur_box(guide[..., i] * guide[..., j]) - guide_mean[..., i] * guide_mean[..., j]
            variance[..., j, i] = variance[..., i, j]
    variance += np.float32(epsilon) * np.eye(3, dtype=np.float32)
    slope = np.linalg.solve(variance, covariance[..., None])[..., 0]
    offset = matte_mean - (slope * guide_mean).sum(-1)
    full = full_guide.shape[1::-1]
    slope = cv2.resize(blur_box(slope), full, interpolation=cv2.INTER_LINEAR)
    offset = cv2.resize(blur_box(offset), full, interpolation=cv2.INTER_LINEAR)
    return np.clip((slope * full_guide).sum(-1) + offset, 0, 1)
