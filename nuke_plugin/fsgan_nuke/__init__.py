"""The Nuke plugin: it describes nodes as shots and hands the work to a worker process.

It uses the standard library, nuke, Nuke's Qt and `fsgan_core.contract`, and never touches pixels.
"""


def run(action: str) -> None:
    """Runs the action of a button; saved scripts call it by this name.

    It never raises: an error is shown on the node.

    Args:
        action: A key of actions.ACTIONS.
    """
    from fsgan_nuke import actions

    actions.run_action(action)
