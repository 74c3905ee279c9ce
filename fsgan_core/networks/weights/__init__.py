"""Weights files: the catalogue, import, fetch, digests, and reading them without running anything."""
