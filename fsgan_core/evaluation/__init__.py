"""How good a result is: metrics against source and target, the step at the matte's edge, charts."""
