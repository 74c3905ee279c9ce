"""The plugin: what runs in Nuke, over `fsgan_core.contract` and the worker."""


def run(action: str) -> None:
    """What a button of one of our nodes does; `action` is its name in actions.ACTIONS. Never raises: an error is shown
    on the node."""
    from fsgan_nuke import actions

    actions.run_action(action)
