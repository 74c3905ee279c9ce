"""The plugin: what runs in Nuke, over `fsgan_core.contract` and the worker."""
