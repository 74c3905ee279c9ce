"""dlib's models, loaded once for the tests of this folder."""

from __future__ import annotations

import pytest

from fsgan_core.faces.detect import HogDetector, make_detector
from fsgan_core.faces.landmarks import DlibLandmarker, make_landmarker


@pytest.fixture(scope="session")
def detector() -> HogDetector:
    pytest.importorskip("dlib")
    found = make_detector("dlib")
    assert isinstance(found, HogDetector)
    return found


@pytest.fixture(scope="session")
def landmarker() -> DlibLandmarker:
    pytest.importorskip("dlib")
    found = make_landmarker("dlib")
    assert isinstance(found, DlibLandmarker)
    return found
