"""The process that stays and renders, for Nuke and for a farm's session: requests in, events out.

server: the queues and what runs. client: one client's requests and events. transports: pipes, or a local socket.
handlers: each request as calls of the pipeline.
"""
