"""Skin: which colours are skin, the regions of a face, and the atlas of a person's skin."""
