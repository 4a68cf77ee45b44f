"""The one idea: a room is an append-only log, a viewer is a cursor into it.

Knows logs, cursors, passes, commands. Never knows a socket type, Redis or HTTP: what it needs of them it
declares in ``ports``.
"""
