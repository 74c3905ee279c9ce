"""98 landmarks of a face by the published landmark network, HRNet-W18 trained on WFLW.

As published (FSGANv2, arXiv 2202.12972): a crop of 256 pixels, the detector's box scaled by 1.2 (crops.Square); mean
and deviation of ImageNet; one heat map of 64 pixels for each point, decoded by heatmap.landmarks_of. The reenactment
network was trained on what the landmark network says of such crops. Every detector draws its boxes in its own way, so
where a detector's box is all that is known the answer is taken from a second look, around the head that the first one
saw.

The published weights are not to be had here. What is proved without them: the network's numbers, that a map's point
comes back to its place in the plate, the way to 68. What is not: how well the points sit on real faces, and how much
they shake.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fsgan_core.contract.errors import WeightsError
from fsgan_core.faces.geometry import Box, compute_overlap
from fsgan_core.faces.heatmap import decode_heat_maps
from fsgan_core.faces.landmarks_wflw import WFLW_COUNT, to_ibug
from fsgan_core.faces.pose import compute_face_box
from fsgan_core.faces.square_crop import CropSquare, RunnableNetwork, make_input_tensor

INPUT_SIDE = 256  # pixels
CROP_SCALE = 1.2  # of the detector's box
CHANNEL_MEAN, CHANNEL_DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_SAME_BOX_OVERLAP = 0.8  # overlap from which a second look would see the same


class HrnetLandmarker:
    """Places landmarks by a network that answers with 98 heat maps. crop: as Weight.crop of the catalogue. Safe from
    several threads as far as the network is."""

    name = "hrnet"

    def __init__(self, network: RunnableNetwork, crop: float = CROP_SCALE) -> None:
        self._network = network
        self._crop_scale = crop

    def locate(self, picture: np.ndarray, boxes: Sequence[Box]) -> np.ndarray:
        """The 68 taken from the 98; see landmarks.Landmarker."""
        return to_ibug(self.locate_wflw(picture, boxes))

    def locate_wflw(self, picture: np.ndarray, boxes: Sequence[Box], second_look: bool = True) -> np.ndarray:
        """float64 (n, 98, 2) in pixels of `picture` (uint8, height x width x RGB, square pixels) for faces in `boxes`
        (x, y, width, height). settle: with a second look; not needed for boxes that come from landmarks."""
        if not len(boxes):
            return np.zeros((0, WFLW_COUNT, 2))
        found = self._run_network(picture, boxes)
        if not second_look:
            return found
        own = {number: compute_face_box(to_ibug(points)) for number, points in enumerate(found)}
        again = [number for number, box in own.items() if _is_better_box(box, boxes[number])]
        if again:
            found[again] = self._run_network(picture, [own[number] for number in again])
        return found

    def _run_network(self, picture: np.ndarray, boxes: Sequence[Box]) -> np.ndarray:
        squares = [CropSquare.from_box(box, self._crop_scale) for box in boxes]
        crops = make_input_tensor(
            [square.crop(picture, INPUT_SIDE) for square in squares], CHANNEL_MEAN, CHANNEL_DEVIATION
        )
        maps = self._network.run(crops)
        if tuple(maps.shape[:2]) != (len(boxes), WFLW_COUNT):
            raise WeightsError(
                f"the landmark network answers with {tuple(maps.shape)}, not with {WFLW_COUNT} heat maps for "
                f"each of {len(boxes)} faces; its weights are of another kind of network"
            )
        answers = maps.cpu().numpy()
        return np.array(
            [square.to_picture(decode_heat_maps(answer)) for square, answer in zip(squares, answers, strict=True)]
        )


def _is_better_box(own: Box, given: Box) -> bool:
    """Whether `own` is another box than `given` and still of the same face; what was no face may answer anything."""
    return (
        compute_overlap(own, given) < _SAME_BOX_OVERLAP
        and 0.5 < own[3] / max(given[2], given[3], 1e-6) < 1.6
        and compute_overlap(own, given) > 0.2
    )
