"""Face swapping and reenactment (FSGAN) for compositing: scene-linear plates in, plates out."""

__version__ = "0.1.0"
