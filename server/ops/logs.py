"""Logging: one line an event, to standard error. Never a token: URLs are not logged at all."""

from __future__ import annotations

import logging


def set_up(level: str) -> None:
    """Log from ``level`` up; the libraries only when they warn."""
    logging.basicConfig(
        level=level.upper(),
        format="%(asctime)s %(levelname)-7s %(name)s: %(message)s",
        datefmt="%Y-%m-%dT%H:%M:%S",
    )
    # It logs a traceback for every malformed request, and the API logs faults of its own by itself.
    logging.getLogger("aiohttp.server").setLevel(logging.CRITICAL)
    for name in ("aiohttp", "asyncio", "redis", "websockets"):
        logging.getLogger(name).setLevel(logging.WARNING)
