# SPDX-License-Identifier: Apache-2.0
"""Memory over time, from the flight recorder."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

from memtally._snapshot import Buffer, Snapshot, snapshot

if TYPE_CHECKING:
    import pandas

_ALLOCATIONS = ("alloc", "replace")
_FREES = ("free", "ambiguous_free")


class Timeline:
    """Reserved bytes at each event that changed them. `series[name][i]` is the sum from `times_ns[i]` on."""

    def __init__(
        self, by: str, times_ns: list[int], series: dict[str, list[int]], marks: list[tuple[int, str]]
    ) -> None:
        self.by = by
        self.times_ns = times_ns
        self.series = series
        self.marks = marks

    def to_pandas(self) -> pandas.DataFrame:
        """One column a series, by seconds since the first event. Needs pandas."""
        try:
            import pandas
        except ImportError:
            raise ImportError("to_pandas() needs pandas: pip install pandas") from None
        start = self.times_ns[0] if self.times_ns else 0
        frame: pandas.DataFrame = pandas.DataFrame(
            self.series, index=pandas.Index([(t - start) / 1e9 for t in self.times_ns], name="seconds")
        )
        return frame

    def plot(self, ax: Any = None, *, top: int = 10) -> Any:
        """Needs matplotlib; returns the axes."""
        from memtally import _plots

        return _plots.plot_timeline(self, ax, top)

    def __repr__(self) -> str:
        return f"<memtally.Timeline by {self.by}: {len(self.times_ns)} events, {', '.join(self.series) or 'nothing'}>"


def timeline(
    by: str = "kind", *, pid: int | None = None, kind: str | None = None, of: Snapshot | None = None
) -> Timeline:
    """How much was held, by "kind" or "tag", as far back as the flight recorder reaches (some thousand events).

    `kind`: only of this one. `of`: a snapshot that was taken with events=True, in place of one taken now.
    """
    if by not in ("kind", "tag"):
        raise ValueError(f"a timeline is by 'kind' or 'tag', not by {by!r}")
    now = snapshot(pid, events=True) if of is None else of
    held: defaultdict[str, int] = defaultdict(int)
    for buffer in now.live:
        if kind is None or buffer.kind == kind:
            held[_name(by, buffer)] += buffer.bytes_reserved
    # From the present back: what an event did is taken back to know what there was before it.
    steps: list[tuple[int, dict[str, int]]] = []
    marks: list[tuple[int, str]] = []
    freed_tags: dict[int, str] = {}
    events = sorted(now.events, key=lambda event: (event.time_ns, event.lane, event.number))
    own_tag: dict[tuple[Any, ...], str] = {}
    # A free does not say under which tag its buffer was allocated; an allocation before it does.
    for place, event in enumerate(events):
        key = (event.device, event.kind, event.id)
        if event.operation in _ALLOCATIONS:
            own_tag[key] = event.tag
        elif event.operation in _FREES:
            freed_tags[place] = own_tag.pop(key, "(allocated earlier)")
    for place in range(len(events) - 1, -1, -1):
        event = events[place]
        if event.operation == "mark":
            marks.append((event.time_ns, event.tag))
        changes = event.operation in _ALLOCATIONS or event.operation in _FREES
        if not changes or (kind is not None and event.kind != kind):
            continue
        steps.append((event.time_ns, {name: size for name, size in held.items() if size}))
        if event.operation in _ALLOCATIONS:
            name = (event.kind or "?") if by == "kind" else event.tag or "(no tag)"
            held[name] = max(0, held[name] - event.bytes_reserved)
        else:
            tag = freed_tags[place]
            held[(event.kind or "?") if by == "kind" else tag or "(no tag)"] += event.bytes_reserved
    steps.reverse()
    marks.reverse()
    names = sorted({name for _, sums in steps for name in sums})
    return Timeline(
        by, [time_ns for time_ns, _ in steps], {name: [sums.get(name, 0) for _, sums in steps] for name in names}, marks
    )


def _name(by: str, buffer: Buffer) -> str:
    return buffer.kind if by == "kind" else buffer.tag or "(no tag)"
