"""Sockets: the front door, the handshake, a viewer's connection, tokens, and the sweep over all of them.

Knows transports and bytes, and the rooms behind them through ``hub`` and ``dispatch``. Never knows Redis.
"""
