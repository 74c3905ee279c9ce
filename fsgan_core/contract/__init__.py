"""What the core and the Nuke plugin share: parameters, stage graph, shot file, worker protocol, layer names, errors.

Each fact is declared here once; the command line, knobs, gizmos, job templates and docs are made from it. Standard
library only, Python 3.9 syntax, because Nuke's own interpreter imports this package.
"""
