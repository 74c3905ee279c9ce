"""A stand-in for Foundry Nuke: `with new_host() as host:` makes `import nuke` work. See docs/stand-in.md."""

from tests.host.evaluate import EvaluationError
from tests.host.expression import ExpressionError
from tests.host.files import start
from tests.host.session import Host, new_host
from tests.host.tcl import TclError

__all__ = ["EvaluationError", "ExpressionError", "Host", "TclError", "new_host", "start"]
