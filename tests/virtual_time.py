"""An event loop on which time passes only when nothing is left to do: a minute of it takes a moment."""

from __future__ import annotations

import asyncio
import functools
import selectors
from collections.abc import Awaitable, Callable
from typing import Any

START_S = 1000.0  # not zero: what is unset must not look like now


class _Jump(selectors.SelectSelector):
    """Waits for nothing: time is moved to the next timer instead."""

    moved = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Report what is ready; if nothing is, let the time pass for which one would have waited."""
        ready = super().select(0)
        if not ready and timeout is None:
            raise AssertionError("everything waits for something that will not come")
        if not ready and timeout:
            self.moved += timeout
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop whose clock passes only while nothing is left to do."""

    def __init__(self) -> None:
        self._jump = _Jump()
        super().__init__(self._jump)
        self.faults: list[dict[str, Any]] = []
        self.set_exception_handler(lambda _, context: self.faults.append(context))

    def time(self) -> float:
        """Return the virtual time, s."""
        return START_S + self._jump.moved

    def advance(self, seconds: float) -> None:
        """Let time pass though something is left to do: a loop that is late."""
        self._jump.moved += seconds

    def turn(self) -> None:
        """Run what is due now, once, without letting time pass."""
        self.call_soon(self.stop)
        self.run_forever()


def on_virtual_time(test: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """Run an async test on a loop whose time is virtual; a fault in a callback fails the test."""

    @functools.wraps(test)
    def run(**fixtures: Any) -> None:
        async def whole() -> None:
            await test(**fixtures)

        with asyncio.Runner(loop_factory=VirtualLoop) as runner:
            runner.run(whole())
            loop = runner.get_loop()
            assert isinstance(loop, VirtualLoop)
            assert loop.faults == []

    return run
