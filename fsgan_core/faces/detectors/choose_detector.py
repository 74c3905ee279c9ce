"""Makes the face detector with a given name."""

from __future__ import annotations

from fsgan_core.contract.errors import EngineError
from fsgan_core.faces import models
from fsgan_core.faces.detectors.detect_face_alignment import FanDetector
from fsgan_core.faces.detectors.detect_mesh import MeshDetector
from fsgan_core.faces.detectors.detector_interface import Detector


def make_detector(name: str = "auto", device: str = "cpu", allow: str = "any") -> Detector:
    """Makes a detector, one object per process.

    Args:
        name: "mesh" or "auto" (the networks that come with the package); "sfd" or "blazeface" (face-alignment's,
            downloaded if needed).
        device: Where a network runs, such as "cpu" or "cuda".
        allow: Licences of models that may be used, as in `weights.allow`.

    Raises:
        EngineError: There is no such name, or its package or network is missing.
        WeightsError: Its models are not allowed.
    """
    if name == "auto":
        name = "mesh"
    makers = {
        "mesh": lambda: MeshDetector(device),
        "sfd": lambda: FanDetector("sfd", device),
        "blazeface": lambda: FanDetector("blazeface", device),
    }
    if name not in makers:
        raise EngineError(f"there is no detector '{name}'; choose one of auto, {', '.join(makers)}")
    models.check_model_licence(name, allow)
    detector: Detector = models.get_shared(("detector", name, device), makers[name])
    return detector
