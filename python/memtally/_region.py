# SPDX-License-Identifier: Apache-2.0
"""Regions of a program: the most that was held inside, and what was left behind."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from memtally import _native
from memtally._sizes import show_size
from memtally._snapshot import Buffer, Snapshot, bytes_by, frame_of, snapshot
from memtally._tracking import track

if TYPE_CHECKING:
    from types import TracebackType

    import pandas


_CLOCK_DRIFT_NS = 5_000_000


class Peak(NamedTuple):
    """The most that one kind, or one memory, of a device held at once."""

    device: str
    kind: str
    memory: str  # the kind in whose memory it lies
    summed: bool  # part of the memory's sum
    bytes_requested: int
    bytes_reserved: int
    slack: int  # the true peak may be higher by so much; 0: exact
    start_reserved: int  # held when the region began
    end_requested: int
    end_reserved: int


class PeakRegion:
    """Made by peak(). What it found is there once the region has ended."""

    def __init__(self, children: bool) -> None:
        self._children = children
        self._watch: _native.Watch | None = None
        self._launch: str | None = None
        self.ended = False
        #: The most of all devices' memories at once; `slack`: the true peak may be higher by so much, 0: exact.
        self.bytes_reserved = 0
        self.slack = 0
        self.exact = False
        self.kinds: list[Peak] = []
        self.memories: list[Peak] = []
        #: Ledgers of processes that descend from this one and were seen.
        self.child_ledgers: list[str] = []
        self.readings = 0

    def __enter__(self) -> PeakRegion:
        if self._watch is not None or self.ended:
            raise RuntimeError("this region was entered before: each one is a memtally.peak() of its own")
        tracking = track()
        if not tracking:
            raise RuntimeError(f"the peak of a region needs the tracker: {tracking.why_not}")
        if self._children and "MEMTALLY_LAUNCH" not in os.environ:
            # Ledgers of children that end with nothing to show then stay until they were read.
            self._launch = os.urandom(16).hex()
            os.environ["MEMTALLY_LAUNCH"] = self._launch
        self._watch = _native.Watch(self._launch or "", self._children)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()

    def end(self) -> None:
        """Ends the region, as leaving its `with` does."""
        if self._watch is None:
            if not self.ended:
                raise RuntimeError("this region was not entered: use `with memtally.peak() as region:`")
            return
        watch, self._watch, self.ended = self._watch, None, True
        if self._launch is not None and os.environ.get("MEMTALLY_LAUNCH") == self._launch:
            del os.environ["MEMTALLY_LAUNCH"]
        (self.exact, self.bytes_reserved, self.slack, kinds, memories, self.child_ledgers, self.readings) = (
            watch.finish()
        )
        self.kinds = list(map(Peak._make, kinds))
        self.memories = [peak._replace(memory=peak.kind) for peak in map(Peak._make, memories)]
        if self._launch is not None:
            self._remove_empty_ledgers()

    def _remove_empty_ledgers(self) -> None:
        """Of children that ended with nothing to show: without the launch they would have removed them themselves."""
        for path in self.child_ledgers:
            try:
                child = snapshot(path=path)
                if (
                    child.launch_id == self._launch
                    and child.liveness == "dead"
                    and child.exited_normally
                    and not child.buffers
                    and not any(child.anomalies.values())
                ):
                    os.unlink(path)
                    os.unlink(path.removesuffix(".ledger") + ".control")
            except (OSError, _native.LedgerError):
                continue

    def _ended(self) -> None:
        if not self.ended:
            raise RuntimeError("the region goes on: its peak is known once the `with` has ended")

    def of(self, kind: str, device: str | None = None) -> int:
        """The peak of reserved bytes of one kind: on one device ("tenstorrent:0"), or on the one where it was highest."""
        self._ended()
        return max(
            (peak.bytes_reserved for peak in self.kinds if peak.kind == kind and device in (None, peak.device)),
            default=0,
        )

    def highest_memory(self) -> Peak | None:
        """The memory of a device that held most: what a limit is compared with."""
        self._ended()
        return max(self.memories, key=lambda peak: peak.bytes_reserved, default=None)

    def to_pandas(self) -> pandas.DataFrame:
        """The peaks of kinds, one a row. Needs pandas."""
        self._ended()
        return frame_of(self.kinds, Peak._fields)

    def __repr__(self) -> str:
        if not self.ended:
            return "<memtally.peak(): the region has not ended>"
        most = "" if self.exact else f", at most {show_size(self.bytes_reserved + self.slack)}"
        lines = [f"peak {show_size(self.bytes_reserved)} ({'exact' if self.exact else 'at least' + most})"]
        for peak in self.kinds:
            lines.append(
                f"  {peak.device} {peak.kind}: {show_size(peak.bytes_reserved)}"
                + (f", or up to {show_size(peak.slack)} more" if peak.slack else "")
            )
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        from memtally import _display

        return _display.peak_html(self)


def peak(children: bool = True) -> PeakRegion:
    """The most that is held inside `with memtally.peak() as region:`, of all kinds and devices, to the byte.

    `children`: of processes that this one starts, too, as far as their ledgers say. A thread of memtally's own reads the
    flight recorders meanwhile; should they go round before it comes, the result says by how much it may be too low.
    """
    return PeakRegion(children)


class Leaks:
    """Buffers that were left behind."""

    def __init__(self, buffers: Iterable[Buffer]) -> None:
        self.buffers = list(buffers)

    @property
    def bytes_reserved(self) -> int:
        return sum(buffer.bytes_reserved for buffer in self.buffers)

    def by(self, key: str = "tag") -> dict[Any, int]:
        """Reserved bytes by "tag", "kind", "device", "group" or "thread_id", the largest first."""
        return bytes_by(self.buffers, key)

    def to_pandas(self) -> pandas.DataFrame:
        """The buffers, one a row. Needs pandas."""
        return frame_of(self.buffers, Buffer._fields)

    def __len__(self) -> int:
        return len(self.buffers)

    def __iter__(self) -> Iterator[Buffer]:
        return iter(self.buffers)

    def __repr__(self) -> str:
        lines = [f"{show_size(self.bytes_reserved)} in {len(self.buffers)} buffers"]
        lines += [f"  {show_size(size):>12}  {tag or '(no tag)'}" for tag, size in list(self.by().items())[:20]]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        from memtally import _display

        return _display.leaks_html(self)


def leaks(since: Snapshot | None = None, *, now: Snapshot | None = None) -> Leaks:
    """What this process has allocated since a snapshot and still holds; without one, all that it holds.

    Collect garbage first (gc.collect()), if objects that own buffers may lie in cycles.
    """
    if now is None:
        now = snapshot()
    if since is None:
        return Leaks(now.live)
    known = {_identity(one): one.time_ns for one in since.buffers}
    taken_ns = since.taken_ns

    def is_new(buffer: Buffer) -> bool:
        # A ledger's clock is measured while it runs: two readings may give one buffer times that differ a little.
        before = known.get(_identity(buffer))
        return before is None or (buffer.time_ns >= taken_ns and buffer.time_ns > before + _CLOCK_DRIFT_NS)

    return Leaks(filter(is_new, now.live))


def _identity(buffer: Buffer) -> Buffer:
    """Equal for one buffer in two snapshots, and mostly not for another one that was given its id."""
    return buffer._replace(time_ns=0)
