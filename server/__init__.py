"""The server. Imports point down only: cli, app, {edge, api, web, ops}, sale, room, protocol.

``backplane`` implements the ports declared in ``room`` and ``sale``; only ``app`` names it.
"""
