"""The networks for Nuke's own Inference node: TorchScript files and the Nuke files around them."""
