from .arrays import blend as blend
from .arrays import inpaint as inpaint
from .arrays import mask as mask
from .arrays import reenact as reenact

__all__ = ["blend", "inpaint", "mask", "reenact"]
