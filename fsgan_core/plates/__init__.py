"""Frames in, frames out: sequences and movies, EXR windows and channels, colour, regions."""
