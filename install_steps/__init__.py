"""The steps of install.py, with the standard library alone: plan, build .venv, run the demo and the tests, Nuke."""
