"""What the core and the Nuke plugin agree on: parameters, the shot, layer names, errors.

Standard library only, Python 3.9 syntax: Nuke's own interpreter imports it.
"""
