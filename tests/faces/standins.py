"""Networks that answer what is known, in place of the published ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

from fsgan_core.faces.landmarkers import landmarks_hrnet
from fsgan_core.faces.landmarkers.landmarks import DlibLandmarker
from fsgan_core.faces.landmarkers.landmarks_wflw import from_ibug
from fsgan_core.faces.square_crop import DETECTOR_SHIFT_UP, DETECTOR_SIDE

if TYPE_CHECKING:
    import torch


def shown(x: torch.Tensor, mean: tuple[float, ...], deviation: tuple[float, ...]) -> np.ndarray:
    """uint8 (n, size, size, RGB): the crops that a network was given."""
    values = x.numpy().transpose(0, 2, 3, 1) * np.array(deviation) + np.array(mean)
    assert values.min() > -1e-3 and values.max() < 1.001
    return np.round(values * 255).clip(0, 255).astype(np.uint8)


def ruled(width: int, height: int, step: float = 0.5) -> np.ndarray:
    """A picture that says where each of its pixels is: red is `step` levels a column, green `step` a row, blue 255."""
    y, x = np.mgrid[0:height, 0:width] * step
    return np.stack([x, y, np.full_like(x, 255)], axis=-1).round().astype(np.uint8)


class Ruler:
    """A landmark network for `ruled` pictures: finds given places of the picture by their colour."""

    def __init__(self, points: np.ndarray, step: float = 0.5, reach: float = 6.0) -> None:
        self.points, self.step, self.reach = points, step, reach
        self.crops: list[np.ndarray] = []

    def run(self, x: torch.Tensor) -> torch.Tensor:
        import torch

        maps = []
        for crop in shown(x, landmarks_hrnet.CHANNEL_MEAN, landmarks_hrnet.CHANNEL_DEVIATION):
            self.crops.append(crop)
            small = cv2.resize(crop.astype(np.float64), (64, 64), interpolation=cv2.INTER_AREA)
            places, inside = small[..., :2] / self.step, small[..., 2] > 250
            away = np.linalg.norm(places[None] - self.points[:, None, None], axis=-1)
            maps.append(np.where(inside, np.exp(-((away / self.reach) ** 2)), 0.0))
        return torch.from_numpy(np.array(maps, np.float32))


class DlibMaps:
    """A landmark network that has dlib look at its crop and draws the heat maps of what it says."""

    def __init__(self, landmarker: DlibLandmarker) -> None:
        self.landmarker = landmarker

    def run(self, x: torch.Tensor) -> torch.Tensor:
        import torch

        maps = []
        for crop in shown(x, landmarks_hrnet.CHANNEL_MEAN, landmarks_hrnet.CHANNEL_DEVIATION):
            side = crop.shape[0]
            inner = side / landmarks_hrnet.CROP_SCALE / DETECTOR_SIDE
            corner = (side - inner) / 2
            box = (corner, corner + DETECTOR_SHIFT_UP * inner, inner, inner)
            points = from_ibug(self.landmarker.locate(crop, [box])[0])
            centres = (np.arange(64) + 0.5) * side / 64 - 0.5
            across = (centres[None, None, :] - points[:, 0, None, None]) ** 2
            down = (centres[None, :, None] - points[:, 1, None, None]) ** 2
            maps.append(np.exp(-(across + down) / (2 * (side / 32) ** 2)))
        return torch.from_numpy(np.array(maps, np.float32))


class Fixed:
    """A network that gives the same answer for every picture of a batch, and keeps what it was asked."""

    def __init__(self, answer: np.ndarray) -> None:
        self.answer = np.asarray(answer, np.float32)
        self.asked: list[torch.Tensor] = []

    def run(self, x: torch.Tensor) -> torch.Tensor:
        import torch

        self.asked.append(x)
        return torch.from_numpy(np.repeat(self.answer[None], len(x), axis=0))
