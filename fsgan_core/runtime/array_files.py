"""What reading a damaged .npy or .npz file raises."""

from __future__ import annotations

import zipfile
import zlib
from tokenize import TokenError

__all__ = ["ARRAY_FILE_ERRORS"]

ARRAY_FILE_ERRORS = (
    OSError,
    ValueError,
    KeyError,
    EOFError,
    TypeError,
    RuntimeError,  # an entry says that it is encrypted; NotImplementedError: it needs a later zip version
    TokenError,  # numpy reads the header of an array as the text of Python literals
    zipfile.BadZipFile,
    zlib.error,
)
"""Of numpy and zipfile, for files without pickles."""
