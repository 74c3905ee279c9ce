"""`python -m fsgan_core.cli`, the same as `fsgan`."""

import sys

from fsgan_core.cli import main

sys.exit(main())
