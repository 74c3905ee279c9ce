"""Head pose by the published pose network, Hopenet (arXiv 1710.00925).

As published: a crop of 224 pixels, the detector's box scaled by 1.2 (`square_crop.fit_published_square`), mean 0.5 and
deviation 0.5. For each of yaw, pitch and roll the network computes a softmax over 66 bins of 3 degrees and its
expectation * 3 - 99 (`networks.architectures.hopenet` answers in degrees).

Signs and order follow from how the authors draw a pose over a picture (x right, y down, the head's third axis out of
the screen): with y = -yaw, the head's right goes to (cos y cos roll, cos pitch sin roll + sin pitch sin y cos roll)
and its front to (sin y, -sin pitch cos y). So positive angles are: yaw, to the picture's left; pitch, up; roll,
clockwise. These rows are those of Rx(pitch) Ry(y) Rz(roll), the order of its training data (300W-LP): there roll comes
first, about the head's own front, while in `pose` it comes last, in the picture's plane. For an upright head only
yaw's sign differs; for a head that is both turned and tilted all three angles differ. So the rotation is composed in
the network's order and decomposed in ours.

Not checked here, for lack of the published weights: that a real face that turns to the right gives a negative yaw, and
how far the network's zero lies from that of `pose` (it has learned another generic face, in another crop). Compare both
on a clip before mixing tracks of one with tracks of the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from fsgan_core.contract.errors import EngineError, WeightsError
from fsgan_core.faces import models
from fsgan_core.faces.geometry import Box
from fsgan_core.faces.pose import extract_angles, make_rotation
from fsgan_core.faces.square_crop import RunnableNetwork, crop_published, fit_published_square, make_input_tensor
from fsgan_core.runtime.arrays import Image8

if TYPE_CHECKING:
    from fsgan_core.networks.weights.installed import InstalledWeights

INPUT_SIDE = 224  # pixels
CROP_SCALE = 1.2  # of the detector's box
_MEAN_AND_DEVIATION = (0.5, 0.5, 0.5)  # both, per channel
EulerAngles = tuple[float, float, float]
"""(yaw, pitch, roll) in degrees."""


def make_poser(name: str = "auto", device: str = "cpu", allow: str = "any") -> HopenetPoser | None:
    """Makes what measures poses from pixels, beside the landmarks.

    With `auto` the pose comes from the landmarks ("pnp"), even if the network's weights are installed: these angles are
    those of the mesh that the stages turn, their noise has been measured, and they are the same for every landmarker.

    Args:
        name: "auto", "pnp" or "hopenet".
        device: Where a network runs, such as "cpu" or "cuda".
        allow: Licences of weights that may be used, as in `weights.allow`.

    Returns:
        The network, one object per process; None for "pnp" and "auto".

    Raises:
        EngineError: There is no such name.
        WeightsError: The weights are missing, not allowed or damaged.
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
    """Finds the weights that the pose `name` is measured with; None when it needs none.

    Raises:
        EngineError: There is no such name.
        WeightsError: The weights are missing, not allowed or damaged.
    """
    if name in ("auto", "pnp"):
        return None
    if name != "hopenet":
        raise EngineError(f"there is no pose '{name}'; choose auto, pnp or hopenet")
    from fsgan_core.networks.weights.installed import find_weights

    return find_weights("pose", allow=allow)


class HopenetPoser:
    """Measures head poses by a network that answers with (yaw, pitch, roll) in degrees of its own convention."""

    name = "hopenet"

    def __init__(self, network: RunnableNetwork, crop: float = CROP_SCALE) -> None:
        self._network = network
        self._crop_scale = crop

    def measure_angles(self, picture: Image8, boxes: Sequence[Box]) -> list[EulerAngles]:
        """Measures the poses of faces.

        Args:
            picture: RGB, square pixels.
            boxes: One for each face, in pixels of `picture`.

        Returns:
            (yaw, pitch, roll) of each, in degrees, signs and order as in `pose`.

        Raises:
            WeightsError: The network does not answer with three angles for each face.
        """
        if not len(boxes):
            return []
        crops = [crop_published(picture, fit_published_square(box, self._crop_scale), INPUT_SIDE) for box in boxes]
        answer = self._network.run(make_input_tensor(crops, _MEAN_AND_DEVIATION, _MEAN_AND_DEVIATION))
        if tuple(answer.shape) != (len(boxes), 3):
            raise WeightsError(
                f"the pose network answers with shape {tuple(answer.shape)}, not with three angles for each "
                f"of {len(boxes)} faces; the weights belong to another kind of network"
            )
        return [convert_angles(*map(float, angles)) for angles in answer.cpu().numpy()]


def convert_angles(yaw: float, pitch: float, roll: float) -> EulerAngles:
    """Converts the network's angles to (yaw, pitch, roll) in degrees as in `pose`.

    >>> [round(angle, 3) + 0.0 for angle in convert_angles(30.0, 0.0, 0.0)]
    [-30.0, 0.0, 0.0]
    """
    return extract_angles(
        make_rotation(0.0, pitch, 0.0) @ make_rotation(-yaw, 0.0, 0.0) @ make_rotation(0.0, 0.0, roll)
    )
