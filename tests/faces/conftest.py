"""dlib's models, loaded once for the tests of this folder; they skip where the extra dlib is not installed."""

from __future__ import annotations

import pytest

from fsgan_core.faces.landmarkers.landmarks import DlibLandmarker, make_landmarker
from fsgan_core.faces.models import find_missing_model


@pytest.fixture(scope="session")
def dlib_extra() -> None:
    """Skips where dlib or its models are not installed."""
    if find_missing_model("dlib"):
        pytest.skip("the extra dlib is not installed")


@pytest.fixture(scope="session")
def landmarker(dlib_extra: None) -> DlibLandmarker:
    found = make_landmarker("dlib")
    assert isinstance(found, DlibLandmarker)
    return found
