"""Redis: the only package that imports it. Implements the ports of ``room`` and ``sale``.

The rules that must hold together are Lua scripts in ``lua/``; Python here only moves their arguments and
answers. All keys of a room share the hash tag ``{room}``, so that they live on one slot of a cluster.
"""
