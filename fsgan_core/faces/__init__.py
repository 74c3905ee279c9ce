"""Who is where, in which pose: detection, landmarks, Euler angles, tracks, the appearance map.

    from fsgan_core.faces.analyse import analyse

    track = analyse(open_clip(Clip("plates/target.####.exr")), open_config())
    save_track("target.track.json", track)
    person = track.choose(AnalyseParams())
    person.faces[1001].landmarks        # (68, 2), plate coordinates

The public names are in __init__.pyi. Each is imported when it is first used.
"""

import lazy_loader

import fsgan_core.plates  # noqa: F401 - before OpenCV is loaded, see there

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
