# SPDX-License-Identifier: Apache-2.0
"""Pictures, with matplotlib where it is there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from memtally._sizes import show_size

if TYPE_CHECKING:
    from memtally._snapshot import Snapshot
    from memtally._timeline import Timeline

# Told apart by people who confuse red and green, too.
_COLORS = ("#4269d0", "#efb118", "#ff725c", "#6cc5b0", "#3ca951", "#ff8ab7", "#a463f2", "#97bbf5", "#9c6b4e", "#9498a0")
_FREE = "#e8e8e8"
_LONGEST_NAME = 40


def _axes(ax: Any, width: float, height: float) -> Any:
    if ax is not None:
        return ax
    try:
        import matplotlib.pyplot as pyplot
    except ImportError:
        raise ImportError("plots need matplotlib: pip install matplotlib") from None
    return pyplot.subplots(figsize=(width, height), layout="constrained")[1]


def _in_bytes(axis: Any) -> None:
    """Ticks at round numbers of KiB, MiB, GiB: some four to eight of them."""
    from matplotlib.ticker import FuncFormatter, MultipleLocator

    low, high = axis.get_view_interval()
    step = 1 << max(0, int(abs(high - low)).bit_length() - 3)
    axis.set_major_locator(MultipleLocator(step))
    axis.set_major_formatter(FuncFormatter(lambda value, _: show_size(round(value))))


def _frameless(ax: Any) -> None:
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)


def _short(name: str) -> str:
    # Mathematics and control characters mean nothing here.
    name = "".join(c if c.isprintable() else "?" for c in name).replace("$", r"\$")
    return name if len(name) <= _LONGEST_NAME else "..." + name[3 - _LONGEST_NAME :]


def plot_holders(snapshot: Snapshot, ax: Any, by: str, top: int) -> Any:
    """A bar for each tag (or what `by` says), in parts by kind."""
    sums = snapshot.by(by)
    shown = list(sums)[:top]
    rest = set(list(sums)[top:])
    ax = _axes(ax, 8, 1.3 + 0.32 * (len(shown) + bool(rest)))
    kinds = list(snapshot.by("kind"))
    names = [_short(str(name)) or "(no tag)" for name in shown]
    if rest:
        names.append(f"({len(rest)} more)")
    left = [0] * len(names)
    for place, kind in enumerate(kinds):
        of_kind = snapshot.by(by, kind)
        widths = [of_kind.get(name, 0) for name in shown]
        if rest:
            widths.append(sum(of_kind.get(name, 0) for name in rest))
        ax.barh(range(len(names)), widths, left=left, color=_COLORS[place % len(_COLORS)], label=kind, height=0.7)
        left = [one + other for one, other in zip(left, widths, strict=True)]
    ax.set_yticks(range(len(names)), names)
    ax.invert_yaxis()
    for place, size in enumerate(left):
        ax.annotate(show_size(size), (size, place), xytext=(4, 0), textcoords="offset points", va="center", fontsize=8)
    ax.margins(x=0.12)
    _in_bytes(ax.xaxis)
    _frameless(ax)
    ax.set_title(f"process {snapshot.pid} {snapshot.comm}: {show_size(snapshot.bytes_reserved)} reserved, by {by}")
    if kinds:
        ax.legend(frameon=False, loc="lower right")
    return ax


def plot_addresses(snapshot: Snapshot, kind: str | None, device: int, ax: Any) -> Any:
    """One bank of a memory from its lowest buffer to its highest."""
    accounts = [one for one in snapshot.accounts if one.device == device and not one.apart]
    if kind is None:
        account = max(accounts, key=lambda one: one.bytes_reserved, default=None)
        memory = account.memory if account else "dram"
    else:
        memory = next((one.memory for one in accounts if one.kind == kind), kind)
    kinds = {one.kind for one in accounts if one.memory == memory}
    buffers = [one for one in snapshot.live if one.device == device and one.kind in kinds]
    where = f"{snapshot.device_name(device)} {memory}"
    low = min((one.address for one in buffers), default=0)
    high = max((one.address + one.bytes_per_bank for one in buffers), default=0)
    parts = [(one.address - low, one.bytes_per_bank, one.tag) for one in buffers]
    return plot_bank(parts, high - low, low, f"{where}: one bank, {len(buffers)} buffers", ax)


def _ranges(parts: list[tuple[int, int, str]], size: int) -> list[tuple[int, int]]:
    """What of the bank is drawn: all of it, but for the largest free block where that is most of it."""
    edge, widest = 0, (0, 0)
    for offset, length, _ in sorted(parts):
        if offset - edge > widest[1] - widest[0]:
            widest = (edge, offset)
        edge = max(edge, offset + length)
    if size - edge > widest[1] - widest[0]:
        widest = (edge, size)
    if widest[1] - widest[0] <= size // 2:
        return [(0, size)]
    # A little of it stays, to show that it goes on.
    margin = (size - (widest[1] - widest[0])) // 16
    kept = [(0, widest[0] + margin if widest[0] else 0), (widest[1] - margin if widest[1] < size else size, size)]
    return [(begin, end) for begin, end in kept if begin < end]


def plot_bank(parts: list[tuple[int, int, str]], size: int, base: int, title: str, ax: Any) -> Any:
    """A bank in rows, as text runs: (offset, size, tag) of what lies there, each tag in its color."""
    ax = _axes(ax, 9, 3.4)
    ax.set_title(title, fontsize=10)
    if not parts or size <= 0:
        ax.set_axis_off()
        return ax
    ranges = _ranges(parts, size)
    drawn = sum(end - begin for begin, end in ranges)
    per_row = -(-drawn // (8 if len(parts) > 8 else 2))
    rows = [(at, min(at + per_row, end)) for begin, end in ranges for at in range(begin, end, per_row)]
    sums: dict[str, int] = {}
    for _, length, tag in parts:
        sums[tag] = sums.get(tag, 0) + length
    tags = sorted(sums, key=lambda tag: (-sums[tag], tag))
    most = len(_COLORS) - 1
    shown = tags if len(tags) <= most else tags[: most - 1]
    color_of = {tag: _COLORS[place] if place < len(shown) else _COLORS[-1] for place, tag in enumerate(tags)}
    for row, (begin, row_end) in enumerate(rows):
        ax.broken_barh([(0, row_end - begin)], (row - 0.4, 0.8), color=_FREE)
        for offset, length, tag in parts:
            start, end = max(offset, begin), min(offset + length, row_end)
            if start < end:
                where, color = [(start - begin, end - start)], color_of[tag]
                ax.broken_barh(where, (row - 0.4, 0.8), facecolor=color, edgecolor="white", linewidth=0.3)
    from matplotlib.patches import Patch

    handles = [Patch(color=color_of[tag], label=_short(tag) or "(no tag)") for tag in shown]
    if len(tags) > len(shown):
        handles.append(Patch(color=_COLORS[-1], label=f"({len(tags) - len(shown)} more)"))
    hidden = f" ({show_size(size - drawn)} of it not drawn)" if drawn < size else ""
    handles.append(Patch(color=_FREE, label=f"free{hidden}"))
    ax.legend(handles=handles, loc="upper left", bbox_to_anchor=(1.01, 1), frameon=False, fontsize=8)
    ax.set_yticks(range(len(rows)), [f"0x{base + begin:x}" for begin, _ in rows], family="monospace", fontsize=8)
    ax.set_ylim(len(rows) - 0.5, -0.5)
    ax.set_xlim(0, per_row)
    _in_bytes(ax.xaxis)
    _frameless(ax)
    return ax


def plot_sizes(snapshot: Snapshot, ax: Any) -> Any:
    """How many buffers there are of each power of two, by kind."""
    ax = _axes(ax, 8, 3)
    kinds = list(snapshot.by("kind"))
    largest = max((one.bytes_reserved for one in snapshot.live), default=1)
    places = range(max(1, largest.bit_length()) + 1)
    bottom = [0] * len(places)
    for number, kind in enumerate(kinds):
        counts = [0] * len(places)
        for one in snapshot.live:
            if one.kind == kind:
                counts[max(0, one.bytes_reserved - 1).bit_length()] += 1
        ax.bar(places, counts, bottom=bottom, color=_COLORS[number % len(_COLORS)], label=kind, width=0.9)
        bottom = [one + other for one, other in zip(bottom, counts, strict=True)]
    used = [place for place, count in enumerate(bottom) if count]
    if used:
        ax.set_xlim(min(used) - 1, max(used) + 1)
        ticks = [place for place in range(min(used), max(used) + 1) if place % 2 == min(used) % 2]
        ax.set_xticks(ticks, [show_size(1 << place) for place in ticks], fontsize=8)
        ax.legend(frameon=False)
    ax.set_xlabel("reserved, up to")
    ax.set_ylabel("buffers")
    _frameless(ax)
    ax.set_title(f"process {snapshot.pid} {snapshot.comm}: sizes of {len(snapshot.live)} buffers")
    return ax


def plot_timeline(timeline: Timeline, ax: Any, top: int) -> Any:
    """Memory over time, stacked."""
    ax = _axes(ax, 9, 3.6)
    if not timeline.times_ns:
        ax.set_title("no events")
        return ax
    start = timeline.times_ns[0]
    span = timeline.times_ns[-1] - start
    unit, divisor = ("s", 1e9) if span >= 1e9 else ("ms", 1e6)
    times = [(time_ns - start) / divisor for time_ns in timeline.times_ns]
    largest = sorted(timeline.series, key=lambda name: -max(timeline.series[name]))
    top = min(top, len(_COLORS) - 1)
    shown = largest[:top]
    stacks = [timeline.series[name] for name in shown]
    labels = [_short(name) for name in shown]
    if len(largest) > top:
        stacks.append([sum(timeline.series[name][i] for name in largest[top:]) for i in range(len(times))])
        labels.append(f"({len(largest) - top} more)")
    colors = [_COLORS[place % (len(_COLORS) - 1)] for place in range(len(shown))] + [_COLORS[-1]]
    ax.stackplot(times, stacks, labels=labels, colors=colors, step="post")
    for time_ns, name in timeline.marks:
        if timeline.times_ns[0] <= time_ns <= timeline.times_ns[-1]:
            place = (time_ns - start) / divisor
            ax.axvline(place, color="#888888", linewidth=0.8, linestyle=":")
            ax.annotate(
                _short(name),
                (place, 1),
                xycoords=("data", "axes fraction"),
                xytext=(3, -10),
                textcoords="offset points",
                fontsize=8,
            )
    ax.set_xlim(0, times[-1] or 1)
    ax.set_ylim(bottom=0)
    ax.set_xlabel(f"time, {unit}")
    _in_bytes(ax.yaxis)
    _frameless(ax)
    handles, names = ax.get_legend_handles_labels()
    ax.legend(handles[::-1], names[::-1], frameon=False, loc="upper left", bbox_to_anchor=(1.01, 1), fontsize=8)
    ax.set_title(f"reserved memory by {timeline.by}")
    return ax
