# SPDX-License-Identifier: Apache-2.0
"""What a process holds, as plain data, read from its ledger."""

from __future__ import annotations

import os
import time
from collections import defaultdict
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

from memtally import _native
from memtally._sizes import show_size

if TYPE_CHECKING:
    import pandas


class DeviceInfo(NamedTuple):
    """A device, as the process knows it."""

    number: int
    id: str  # hexadecimal; "" unknown
    local_index: int  # the program's own number
    vendor: str
    architecture: str
    pci_address: int | None
    parent: int | None
    physical_bytes: int
    closed: bool
    id_scheme: int

    @property
    def name(self) -> str:
        return f"{self.vendor or 'device'}:{self.local_index}"


class Account(NamedTuple):
    """Everything that is summed for one device and kind. `bytes_*` are of live buffers."""

    device: int
    kind: str
    memory: str  # the kind in whose memory it lies
    apart: bool  # not part of the memory's sum: its buffers overlap, nest in others, or lie on the host
    banks: int
    capacity_bytes: int
    capacity_bytes_per_bank: int
    buffers: int
    bytes_requested: int
    bytes_reserved: int
    peak_requested: int
    peak_reserved: int
    peak_reserved_slack: int
    allocations: int
    frees: int
    released: int
    released_reserved: int
    failed_allocations: int
    failed_requested: int
    imported: int
    imported_requested: int


class Buffer(NamedTuple):
    """One device allocation."""

    id: int
    device: int
    kind: str
    address: int  # an offset in each bank
    bytes_requested: int
    bytes_per_bank: int
    bytes_reserved: int  # what the memory lost: a bank x banks
    tag: str  # "decode / layer 3"; "" none
    group: int
    thread_id: int
    time_ns: int  # CLOCK_MONOTONIC
    imported: bool
    released: bool  # its device was closed: not live any more


class Event(NamedTuple):
    """One entry of the flight recorder."""

    time_ns: int
    operation: str  # alloc, free, alloc_failed, mark, close, replace, ...
    kind: str | None
    tag: str  # the thread's at that moment; of a mark, its name
    id: int
    address: int
    bytes_requested: int
    bytes_per_bank: int
    bytes_reserved: int
    device: int | None
    thread_id: int
    lane: int
    number: int


_COUNTERS = (
    "lost_events",
    "lost_bytes",
    "lost_tags",
    "lost_groups",
    "lost_registrations",
    "signal_overflow",
    "paused_events",
    "refused_pages",
    "events",
    "unread_events",
)
_KEYS = ("tag", "kind", "device", "group", "thread_id")


class Snapshot:
    """What one process held at one instant."""

    def __init__(self, row: tuple[Any, ...] | None = None, taken_ns: int | None = None) -> None:
        #: When it was taken, in nanoseconds of CLOCK_MONOTONIC.
        self.taken_ns = time.monotonic_ns() if taken_ns is None else taken_ns
        empty = row is None
        if row is None:
            row = (
                "",
                os.getpid(),
                os.getppid(),
                "",
                "",
                "",
                "alive",
                False,
                True,
                0,
                [],
                [],
                [],
                [],
                [],
                [],
                {},
                (0,) * len(_COUNTERS),
            )
        (
            self.path,
            self.pid,
            self.parent_pid,
            self.comm,
            self.run_id,
            self.launch_id,
            self.liveness,
            self.exited_normally,
            self.exact,
            self.start_time_ns,
            gaps,
            devices,
            accounts,
            buffers,
            groups,
            events,
            self.anomalies,
            counters,
        ) = row
        #: What could not be read or believed, in words.
        self.gaps: list[str] = gaps
        if empty:
            tracked = _native.is_tracked()
            self.gaps.append(
                "this process has reported nothing yet"
                if tracked
                else "nothing is tracked here: call memtally.track() first, or use `memtally run`"
            )
        self.devices: list[DeviceInfo] = list(map(DeviceInfo._make, devices))
        self.accounts: list[Account] = list(map(Account._make, accounts))
        self.buffers: list[Buffer] = list(map(Buffer._make, buffers))
        self.events: list[Event] = list(map(Event._make, events))
        self.groups: dict[int, str] = dict(groups)
        self.counters: dict[str, int] = dict(zip(_COUNTERS, counters, strict=True))

    @property
    def live(self) -> list[Buffer]:
        """Buffers that take up memory: neither imported nor released by a close."""
        return [buffer for buffer in self.buffers if not buffer.imported and not buffer.released]

    @property
    def bytes_reserved(self) -> int:
        """Of all devices' memories; what overlaps, nests in others or lies on the host is not in it."""
        return sum(account.bytes_reserved for account in self.accounts if not account.apart)

    def account(self, kind: str, device: int = 0) -> Account | None:
        """The sums of one device and kind."""
        for account in self.accounts:
            if account.kind == kind and account.device == device:
                return account
        return None

    def by(self, key: str = "tag", kind: str | None = None) -> dict[Any, int]:
        """Reserved bytes of live buffers by "tag", "kind", "device", "group" or "thread_id", the largest first."""
        return bytes_by(self.live if kind is None else [one for one in self.live if one.kind == kind], key)

    def device_name(self, number: int) -> str:
        return next((device.name for device in self.devices if device.number == number), f"device:{number}")

    def to_dict(self) -> dict[str, Any]:
        """The same as dicts and lists, for JSON."""
        plain = {
            name: value
            for name, value in vars(self).items()
            if name not in ("devices", "accounts", "buffers", "events")
        }
        for name in ("devices", "accounts", "buffers", "events"):
            plain[name] = [entry._asdict() for entry in getattr(self, name)]
        return plain

    def to_pandas(self) -> pandas.DataFrame:
        """The buffers, one a row. Needs pandas."""
        return frame_of(self.buffers, Buffer._fields)

    def plot(self, ax: Any = None, *, by: str = "tag", top: int = 15) -> Any:
        """Who holds what: a bar for each tag, in parts by kind. Needs matplotlib; returns the axes."""
        from memtally import _plots

        return _plots.plot_holders(self, ax, by, top)

    def plot_addresses(self, kind: str | None = None, device: int = 0, ax: Any = None) -> Any:
        """One bank's address space of a memory, and whose buffers lie where. Needs matplotlib; returns the axes."""
        from memtally import _plots

        return _plots.plot_addresses(self, kind, device, ax)

    def plot_sizes(self, ax: Any = None) -> Any:
        """How large the buffers are, by kind. Needs matplotlib; returns the axes."""
        from memtally import _plots

        return _plots.plot_sizes(self, ax)

    def __repr__(self) -> str:
        state = "" if self.liveness == "alive" else f", {self.liveness}"
        lines = [
            f"process {self.pid} ({self.comm or 'no ledger'}{state}) holds {show_size(self.bytes_reserved)} "
            f"in {len(self.live)} buffers"
        ]
        for account in self.accounts:
            of = f" of {show_size(account.capacity_bytes)}" if account.capacity_bytes else ""
            lines.append(
                f"  {self.device_name(account.device)} {account.kind}: {show_size(account.bytes_reserved)}{of}, "
                f"{account.buffers} buffers, peak {show_size(account.peak_reserved)}"
            )
        for tag, size in list(self.by("tag").items())[:10]:
            lines.append(f"    {show_size(size):>12}  {tag or '(no tag)'}")
        lines += [f"  {count} x {name}" for name, count in self.anomalies.items() if count]
        lines += [f"  note: {gap}" for gap in self.gaps]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        from memtally import _display

        return _display.snapshot_html(self)


def bytes_by(buffers: Iterable[Buffer], key: str) -> dict[Any, int]:
    """Reserved bytes by a field of the buffers, the largest first."""
    if key not in _KEYS:
        raise ValueError(f"buffers are summed by {', '.join(_KEYS)}, not by {key!r}")
    place = Buffer._fields.index(key)
    sums: defaultdict[Any, int] = defaultdict(int)
    for buffer in buffers:
        sums[buffer[place]] += buffer.bytes_reserved
    return dict(sorted(sums.items(), key=lambda item: (-item[1], str(item[0]))))


def frame_of(rows: Iterable[tuple[Any, ...]], fields: tuple[str, ...]) -> pandas.DataFrame:
    try:
        import pandas
    except ImportError:
        raise ImportError("to_pandas() needs pandas: pip install pandas") from None
    frame: pandas.DataFrame = pandas.DataFrame(list(rows), columns=list(fields))
    return frame


def _path_of(pid: int) -> str:
    paths, problems = _native.find()
    found = [path for path in paths if os.path.basename(path).split("-")[2:3] == [str(pid)]]
    if not found:
        hint = "; ".join(problems) or "is it tracked? `memtally doctor` says what is in the way"
        raise LookupError(f"process {pid} has no ledger: {hint}")
    return max(found, key=os.path.getmtime)


def snapshot(pid: int | None = None, *, path: str | None = None, events: bool = False) -> Snapshot:
    """What this process holds now, or another one, by pid or by its ledger's path. `events`: its last events, too."""
    if path is None:
        path = _native.ledger_path() if pid is None or pid == os.getpid() else _path_of(pid)
        if not path:
            return Snapshot()
    taken_ns = time.monotonic_ns()
    return Snapshot(_native.read(path, events), taken_ns)


def snapshots() -> list[Snapshot]:
    """Of every process of this machine that has a ledger which can be read, living and dead."""
    found = []
    for path in _native.find()[0]:
        try:
            found.append(Snapshot(_native.read(path, False)))
        except (OSError, _native.LedgerError):
            continue  # it ended, or it is another user's
    return found


def events(pid: int | None = None, *, last: int | None = None, since_ns: int = 0) -> list[Event]:
    """The last events of this process, or another one, in the order of their times: as many as its flight recorder holds."""
    found = [event for event in snapshot(pid, events=True).events if event.time_ns >= since_ns and event.operation]
    found.sort(key=lambda event: event.time_ns)
    return found if last is None else found[-last:]
