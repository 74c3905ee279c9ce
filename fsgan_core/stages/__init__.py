"""The four stages of a face swap, each a pure function of plates, tracks and parameters."""

import fsgan_core.plates  # noqa: F401 - before OpenCV is loaded, see there
