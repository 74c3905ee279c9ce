"""Face swapping and reenactment (FSGAN) for compositing: scene-linear plates in, plates out.

    import fsgan_core as fsgan

    result = fsgan.swap(source="anna.mov", target="plate.####.exr", output="out/swap.####.exr", frames="1001-1060")
    track = fsgan.track_faces("plate.####.exr")
    fsgan.render(fsgan.Shot.load("shot.toml"))
    picture = fsgan.stages.blend(...)  # one frame, arrays in, arrays out

The public names are in __init__.pyi. Each is imported when it is first used: `import fsgan_core` costs milliseconds.
"""

from fsgan_core.contract.version import __version__ as __version__

try:
    import lazy_loader
except ImportError:  # the host's interpreter, where only fsgan_core.contract is imported
    __all__ = []

    def __getattr__(name: str) -> object:
        raise AttributeError(f"fsgan_core.{name} needs the package lazy_loader, or there is no such name")
else:
    __getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
