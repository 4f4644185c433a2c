# SPDX-License-Identifier: Apache-2.0
"""Who holds device memory, down to the buffer: report it, tag it, look at it.

    import memtally

    memtally.track()                          # the tracker is in this process now, if it was not preloaded
    with memtally.tag("layer 3"):             # what is allocated inside has this tag
        ...
    print(memtally.snapshot())                # who holds what
    with memtally.peak() as region:           # the most that was held inside
        ...

Importing costs next to nothing: what is used is loaded when it is first used. See docs/python.md.
"""

from __future__ import annotations

from memtally._native import LedgerError, adopt, current_tag, mark, tag
from memtally._tracking import (
    Device,
    Group,
    Tracking,
    alloc,
    alloc_failed,
    define_kind,
    free,
    group,
    ledger_path,
    pause,
    register_device,
    track,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from memtally._region import Leaks, Peak, PeakRegion, leaks, peak
    from memtally._snapshot import (
        Account,
        Buffer,
        DeviceInfo,
        Event,
        Snapshot,
        events,
        snapshot,
        snapshots,
    )
    from memtally._timeline import Timeline, timeline

__version__ = "0.1.0"

__all__ = [
    "Account",
    "Buffer",
    "Device",
    "DeviceInfo",
    "Event",
    "Group",
    "Leaks",
    "LedgerError",
    "Peak",
    "PeakRegion",
    "Snapshot",
    "Timeline",
    "Tracking",
    "adopt",
    "alloc",
    "alloc_failed",
    "current_tag",
    "define_kind",
    "events",
    "free",
    "group",
    "leaks",
    "ledger_path",
    "mark",
    "pause",
    "peak",
    "register_device",
    "snapshot",
    "snapshots",
    "tag",
    "timeline",
    "track",
]

# Name -> the module that has it, loaded when the name is first asked for.
_LATER = {
    **dict.fromkeys(
        ("Account", "Buffer", "DeviceInfo", "Event", "Snapshot", "events", "snapshot", "snapshots"), "_snapshot"
    ),
    **dict.fromkeys(("Leaks", "Peak", "PeakRegion", "leaks", "peak"), "_region"),
    **dict.fromkeys(("Timeline", "timeline"), "_timeline"),
}


def __getattr__(name: str) -> object:
    module = _LATER.get(name)
    if module is None:
        raise AttributeError(f"module 'memtally' has no attribute {name!r}")
    import importlib

    value: object = getattr(importlib.import_module(f"memtally.{module}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
