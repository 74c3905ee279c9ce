"""Run by Nuke at startup, with and without a GUI. An error here must not stop Nuke."""

try:
    import os
    import sys

    import nuke

    _here = os.path.dirname(os.path.abspath(__file__)).replace("\\", "/")
    _root = os.path.dirname(_here)
    if _root not in sys.path:
        sys.path.append(_root)  # for fsgan_core.contract, which needs only the standard library
    nuke.pluginAddPath([_root + "/gizmos", _root + "/gizmos/icons"])

    from fsgan_nuke import callbacks

    from fsgan_core.contract import layers

    # Nuke calls the channels R, G, B and A of a layer red, green, blue and alpha.
    _colours = ("red", "green", "blue", "alpha")
    _pictures = {
        _name: layers.list_layer_channels(_name, _colours) for _name in (layers.LAYER_REENACTED, layers.LAYER_COMPLETED)
    }
    for _layer, _channels in {**layers.LAYER_CHANNELS, **_pictures}.items():
        nuke.Layer(_layer, list(_channels))

    callbacks.install_callbacks()
except Exception as _error:
    import traceback

    traceback.print_exc()
    print("FSGAN: the plugin could not be loaded: %s" % _error)
