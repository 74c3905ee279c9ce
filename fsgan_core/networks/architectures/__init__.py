"""The network graphs, with the published layer names, and the parser of architecture strings."""
