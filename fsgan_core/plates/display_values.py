"""The one invertible transform from a plate to display-like values and back.

    space -> linear Rec.709 with D65 white (rec709.py) -> exposure gain -> curve (curve.py) -> display-like RGB

The curve is that of sRGB up to 0.8 and has a soft shoulder above. Every step has an exact inverse.
"""

from __future__ import annotations

import numpy as np

from fsgan_core.plates import curve
from fsgan_core.plates.rec709 import Rec709Conversion
from fsgan_core.runtime.arrays import ColourPlanes, Image

SCENE_LIMIT = 65504.0
"""Scene value that replaces infinity and everything above it: the largest half float."""


class Codec:
