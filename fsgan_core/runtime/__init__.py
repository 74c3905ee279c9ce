"""What every job needs and no package owns: the cache folder, devices, threads, events, locks and sampling."""
