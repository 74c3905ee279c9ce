"""The four stages of a face swap, each a pure function of plates, tracks and parameters.

`reenact`, `mask`, `inpaint` and `blend` here take and return plain arrays of one frame (see `arrays`).
"""

import lazy_loader

import fsgan_core.plates  # noqa: F401 - must be imported before OpenCV, see there

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
