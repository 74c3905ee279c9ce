"""Measurements: ratios of speed (`python -m benchmarks`), a GPU's rates, quality, training curves."""
