"""Weights files: catalogue, import, fetch, digests, and a reader that never runs code from a file."""
