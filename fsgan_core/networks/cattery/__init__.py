"""The networks for Nuke's own Inference node: TorchScript files and what Nuke needs around them."""
