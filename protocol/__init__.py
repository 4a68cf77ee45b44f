"""What crosses the wire, and nothing else.

Knows the messages of protocol v1, their two encodings and their websocket frames.
Never knows a socket, a clock, a task or anything of ``server``; every function here is pure.
"""
