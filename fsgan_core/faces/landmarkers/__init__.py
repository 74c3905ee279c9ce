"""Landmarks of a face that is already found: the engines, and the conventions of 68 and 98 points."""
