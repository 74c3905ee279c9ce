"""The process that renders for Nuke and for a farm's session: requests in, events out.

`server` has the queues and threads, `client` the requests and events of one client, `transports` the pipes and
the local socket, and `handlers` answers each request with calls of the pipeline.
"""
