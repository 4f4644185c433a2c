# SPDX-License-Identifier: Apache-2.0
"""Lets asyncio's event loops say that a task goes on, so that the thread's tag is that task's."""

from __future__ import annotations

import asyncio.events
import threading
from typing import Any

from memtally import _native

_lock = threading.Lock()
_followed = False


def follow() -> None:
    """From here on each callback of an event loop runs with its context's tag. Done once, when a tag is first entered in a
    task; the callback that is running goes on with the tag that it has. Loops that do not run asyncio's handles (uvloop's)
    are not followed: there, decorate coroutine functions instead."""
    global _followed
    with _lock:
        if _followed:
            return
        _followed = True
    handle: Any = asyncio.events.Handle
    run = handle._run
    enter, leave = _native.enter_context, _native.leave_context

    def _run(self: Any) -> Any:
        before = enter(self._context)
        try:
            return run(self)
        finally:
            leave(before)

    handle._run = _run
