"""Head pose by the published pose network, Hopenet (arXiv 1710.00925).

As published: a crop of 224 pixels, the detector's box scaled by 1.2 (crops.Square), mean 0.5 and deviation 0.5; for
each of yaw, pitch and roll a softmax over 66 bins of 3 degrees, and their expectation * 3 - 99. That arithmetic is the
network's (networks.hopenet answers with degrees).

Signs and order. What is relied on is how the authors draw a pose over a picture (x right, y down, the head's third axis
out of the screen): with y = -yaw, the head's right goes to (cos y cos roll, cos pitch sin roll + sin pitch sin y cos
roll) and its front to (sin y, -sin pitch cos y). So positive angles are: yaw, to the picture's left; pitch, up; roll,
clockwise. And these rows are those of Rx(pitch) Ry(y) Rz(roll), the order of its training data (300W-LP): there roll
comes first, about the head's own front, while here it is last, in the picture's plane (pose.py). For an upright head
only yaw's sign differs; for a head that is both turned and tilted all three angles do. So the rotation is put together
by the network's order and taken apart by ours.

What could not be checked here, where the published weights are not to be had: that a real picture of a face that turns
to the right does give a negative yaw, and how far the network's zero lies from that of pose.py (it has learned another
generic face, in another crop). Compare both on a clip before mixing tracks of one with tracks of the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from fsgan_core.contract.errors import EngineError, WeightsError
from fsgan_core.faces import models
from fsgan_core.faces.geometry import Box
from fsgan_core.faces.pose import extract_angles, make_rotation
from fsgan_core.faces.square_crop import CropSquare, RunnableNetwork, make_input_tensor

if TYPE_CHECKING:
    from fsgan_core.networks.weights.catalogue import InstalledWeights

INPUT_SIDE = 224  # pixels
CROP_SCALE = 1.2  # of the detector's box
_MEAN_AND_DEVIATION = (0.5, 0.5, 0.5)  # mean and deviation
EulerAngles = tuple[float, float, float]


def make_poser(name: str = "auto", device: str = "cpu", allow: str = "any") -> HopenetPoser | None:
    """What measures poses beside the landmarks: a network for "hopenet", None for "pnp" and "auto".

    auto is pnp, also where the network's weights are installed: its angles are those of the very mesh that the stages
    turn, its noise has been measured, and it is the same for every landmarker. One object per process. Raises
    EngineError, WeightsError.
    """
    weights = find_pose_weights(name, allow)
    if weights is None:
        return None
    poser: HopenetPoser = models.get_shared(
        ("pose", "hopenet", device, weights.sha256),
        lambda: HopenetPoser(models.load_analysis_network(weights, device), weights.info.crop),
    )
    return poser


def find_pose_weights(name: str = "auto", allow: str = "any") -> InstalledWeights | None:
    """The weights that the pose `name` is measured with, None where it takes none. Raises EngineError (no such name),
    WeightsError (not there, not allowed, damaged)."""
    if name in ("auto", "pnp"):
        return None
    if name != "hopenet":
        raise EngineError(f"there is no pose '{name}'; known: auto, pnp, hopenet")
    from fsgan_core.networks.weights.catalogue import find_weights

    return find_weights("pose", allow=allow)


class HopenetPoser:
    """Measures head poses by a network that answers with (yaw, pitch, roll) in its own degrees."""

    name = "hopenet"

    def __init__(self, network: RunnableNetwork, crop: float = CROP_SCALE) -> None:
        self._network = network
        self._crop_scale = crop

    def measure_angles(self, picture: np.ndarray, boxes: Sequence[Box]) -> list[EulerAngles]:
        """(yaw, pitch, roll) in degrees, signs and order as in pose.py, of faces in `boxes` (x, y, width, height) of
        `picture` (uint8, height x width x RGB, square pixels)."""
        if not len(boxes):
            return []
        crops = [CropSquare.from_box(box, self._crop_scale).crop(picture, INPUT_SIDE) for box in boxes]
        answer = self._network.run(make_input_tensor(crops, _MEAN_AND_DEVIATION, _MEAN_AND_DEVIATION))
        if tuple(answer.shape) != (len(boxes), 3):
            raise WeightsError(
                f"the pose network answers with {tuple(answer.shape)}, not with three angles for each "
                f"of {len(boxes)} faces; its weights are of another kind of network"
            )
        return [convert_angles(*map(float, angles)) for angles in answer.cpu().numpy()]


def convert_angles(yaw: float, pitch: float, roll: float) -> EulerAngles:
    """(yaw, pitch, roll) in degrees as in pose.py, of the network's."""
    return extract_angles(
        make_rotation(0.0, pitch, 0.0) @ make_rotation(-yaw, 0.0, 0.0) @ make_rotation(0.0, 0.0, roll)
    )
