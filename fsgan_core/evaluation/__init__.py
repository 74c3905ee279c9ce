"""How good a result is, in numbers.

`evaluate.evaluate` measures a result against its target and source, from files, and returns an `Evaluation`;
`evaluate_arrays` does it for pictures in memory. `metric_limits` lists the metrics and their limits. `metrics`,
`mesh_metrics` and `edge` measure one frame, `frame_metrics` a clip. `charts` shows an `Evaluation` as a table, plots or
JSON.
"""
