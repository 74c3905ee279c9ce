"""The graphs of the networks, with layer names as published, and the parser of architecture strings."""
