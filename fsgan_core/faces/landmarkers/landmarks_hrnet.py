"""98 landmarks of a face by the published landmark network, HRNet-W18 trained on WFLW.

As published (FSGANv2, arXiv 2202.12972): a crop of 256 pixels, the detector's box scaled by 1.2
(`square_crop.fit_published_square`); mean and deviation of ImageNet; one heat map of 64 pixels for each point,
decoded by `heatmap.decode_heat_maps`. The reenactment network was trained on the landmarks that this network finds in
such crops. Every detector draws its boxes in its own way, so where only a detector's box is known, the answer comes
from a second look, around the head that the first one found.

The published weights were not available here. Tested without them: the network's numbers, that a map's point comes back
to its place in the plate, the conversion to 68. Not tested: how well the points sit on real faces, and how steady they
are.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fsgan_core.contract.errors import WeightsError
from fsgan_core.faces.geometry import Box, compute_overlap
from fsgan_core.faces.landmarkers.heatmap import decode_heat_maps
from fsgan_core.faces.landmarkers.landmarks_wflw import WFLW_COUNT, to_ibug
from fsgan_core.faces.pose import compute_face_box
from fsgan_core.faces.square_crop import RunnableNetwork, crop_published, fit_published_square, make_input_tensor
from fsgan_core.runtime.arrays import Image8, Points68, Points98

INPUT_SIDE = 256  # pixels
CROP_SCALE = 1.2  # of the detector's box
CHANNEL_MEAN, CHANNEL_DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet
_SAME_BOX_OVERLAP = 0.8  # intersection over union from which a second look would see the same
_SAME_FACE_OVERLAP = 0.2  # intersection over union below which the second box is not of the same face
_SAME_FACE_HEIGHTS = (0.5, 1.6)  # height of the second box over the first one's, for the same face


class HrnetLandmarker:
    """Places landmarks by a network that answers with 98 heat maps.

    Safe from several threads if the network is.
    """

    name = "hrnet"

    def __init__(self, network: RunnableNetwork, crop: float = CROP_SCALE) -> None:
        """Takes a loaded network; `crop` is the crop's size as in `Weight.crop` of the catalogue."""
        self._network = network
        self._crop_scale = crop

    def locate(self, picture: Image8, boxes: Sequence[Box]) -> Points68:
        """Converts the 98 points to 68; see `landmarks.Landmarker.locate`."""
        return to_ibug(self.locate_wflw(picture, boxes))

    def locate_wflw(self, picture: Image8, boxes: Sequence[Box], second_look: bool = True) -> Points98:
        """Places the 98 points of each face.

        Args:
            picture: RGB, square pixels.
            boxes: One for each face, in pixels of `picture`.
            second_look: Look again around the head that the first look found; not needed for boxes made from landmarks.

        Returns:
            float64 (n, 98, 2), pixels of `picture`.

        Raises:
            WeightsError: The network does not answer with 98 heat maps for each face.
        """
        if not len(boxes):
            return np.zeros((0, WFLW_COUNT, 2))
        found = self._run_network(picture, boxes)
        if not second_look:
            return found
        own = {number: compute_face_box(to_ibug(points)) for number, points in enumerate(found)}
        unsettled = [number for number, box in own.items() if _is_better_box(box, boxes[number])]
        if unsettled:
            found[unsettled] = self._run_network(picture, [own[number] for number in unsettled])
        return found

    def _run_network(self, picture: Image8, boxes: Sequence[Box]) -> Points98:
        squares = [fit_published_square(box, self._crop_scale) for box in boxes]
        crops = make_input_tensor(
            [crop_published(picture, square, INPUT_SIDE) for square in squares], CHANNEL_MEAN, CHANNEL_DEVIATION
        )
        maps = self._network.run(crops)
        if tuple(maps.shape[:2]) != (len(boxes), WFLW_COUNT):
            raise WeightsError(
                f"the landmark network answers with shape {tuple(maps.shape)}, not with {WFLW_COUNT} heat maps for "
                f"each of {len(boxes)} faces; the weights belong to another kind of network"
            )
        answers = maps.cpu().numpy()
        return np.array(
            [square.to_picture(decode_heat_maps(answer), 1) for square, answer in zip(squares, answers, strict=True)]
        )


def _is_better_box(own: Box, first: Box) -> bool:
    """Whether `own` is another box than `given`, yet of the same face. What is no face may give any answer."""
    return (
        compute_overlap(own, first) < _SAME_BOX_OVERLAP
        and _SAME_FACE_HEIGHTS[0] < own[3] / max(first[2], first[3], 1e-6) < _SAME_FACE_HEIGHTS[1]
        and compute_overlap(own, first) > _SAME_FACE_OVERLAP
    )
