"""How good a result is, in numbers.

`evaluate.evaluate` measures a result against its target and source, from files; `metrics` has the same measures as
functions on arrays, `edge` measures the step of colour at the matte's edge, and `charts` shows an `Evaluation` as a
table, plots or JSON.
"""
