"""Train the networks: prepare faces, train on many people, fine-tune on one source.

`prepare_faces`, `train_network` and `finetune_network` are the whole of it for a pipeline script; the command line
calls the same three functions. The package stands beside `render`: it opens clips and reads tracks, but renders
nothing. torch is imported when a name is first used.
"""

import lazy_loader

import fsgan_core.plates  # noqa: F401 - must be imported before OpenCV, see there

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
