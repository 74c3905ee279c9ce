"""A shot, from files to files: the pipeline, its cache, evaluation and reports."""
