"""What every job needs and no other package owns: cache, file locks, devices, threads, events, sampling, array aliases.

Nothing here depends on faces, plates or networks. The cache folder keeps analysed tracks and other results that take
long; `memory` lets tests empty every cache in memory.
"""
