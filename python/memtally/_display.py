# SPDX-License-Identifier: Apache-2.0
"""Snapshots, peaks and leaks as tables in notebooks."""

from __future__ import annotations

import html
from collections.abc import Iterable
from typing import TYPE_CHECKING

from memtally._sizes import show_size

if TYPE_CHECKING:
    from memtally._bank_report import Report
    from memtally._region import Leaks, PeakRegion
    from memtally._snapshot import Snapshot

_BAR = (
    "<div style='background:currentColor;opacity:.15;width:10em;height:.8em'></div>"
    "<div style='background:#4269d0;width:{:.2f}em;height:.8em;margin-top:-.8em'></div>"
)
_MOST_ROWS = 20


def _table(head: Iterable[str], rows: Iterable[Iterable[str]], caption: str) -> str:
    """Cells are text and are made harmless, but for those that begin with a bar."""

    def cell(text: str) -> str:
        return text if text.startswith("<div") else html.escape(text)

    lines = [
        "<table>",
        f"<caption style='text-align:left'>{html.escape(caption)}</caption>",
        "<tr>" + "".join(f"<th>{html.escape(name)}</th>" for name in head) + "</tr>",
    ]
    lines += ["<tr>" + "".join(f"<td>{cell(text)}</td>" for text in row) + "</tr>" for row in rows]
    return "\n".join([*lines, "</table>"])


def _bar(part: int, whole: int) -> str:
    return _BAR.format(10 * min(1.0, part / whole) if whole else 0.0)


def _tags(sums: dict[str, int], caption: str) -> str:
    whole = sum(sums.values())
    rows = [(tag or "(no tag)", show_size(size), _bar(size, whole)) for tag, size in list(sums.items())[:_MOST_ROWS]]
    if len(sums) > _MOST_ROWS:
        rest = sum(list(sums.values())[_MOST_ROWS:])
        rows.append((f"({len(sums) - _MOST_ROWS} more)", show_size(rest), _bar(rest, whole)))
    return _table(("tag", "reserved", ""), rows, caption)


def snapshot_html(snapshot: Snapshot) -> str:
    rows = [
        (
            snapshot.device_name(one.device),
            one.kind,
            str(one.buffers),
            show_size(one.bytes_reserved),
            show_size(one.capacity_bytes) if one.capacity_bytes else "",
            _bar(one.bytes_reserved, one.capacity_bytes),
            show_size(one.peak_reserved),
        )
        for one in snapshot.accounts
    ]
    parts = [
        _table(
            ("device", "kind", "buffers", "reserved", "capacity", "", "peak"),
            rows,
            f"process {snapshot.pid} {snapshot.comm}: {show_size(snapshot.bytes_reserved)}",
        )
    ]
    if snapshot.live:
        parts.append(_tags(snapshot.by("tag"), "by tag"))
    parts += [f"<p>{html.escape(gap)}</p>" for gap in snapshot.gaps]
    return "\n".join(parts)


def peak_html(region: PeakRegion) -> str:
    if not region.ended:
        return f"<p>{html.escape(repr(region))}</p>"
    rows = [
        (
            one.device,
            one.kind,
            show_size(one.start_reserved),
            show_size(one.bytes_reserved),
            "exact" if not one.slack else f"or up to {show_size(one.slack)} more",
            show_size(one.end_reserved),
        )
        for one in region.kinds
    ]
    return _table(
        ("device", "kind", "at the start", "peak", "", "at the end"),
        rows,
        f"peak {show_size(region.bytes_reserved)}" + ("" if region.exact else ", at least"),
    )


def leaks_html(leaks: Leaks) -> str:
    return _tags(leaks.by("tag"), f"{show_size(leaks.bytes_reserved)} in {len(leaks)} buffers")


def report_html(report: Report) -> str:
    """Of memtally.ttnn.report()."""
    parts = []
    for memory in report.memories:
        free = show_size(memory.free_per_bank)
        caption = (
            f"{report.device} {memory.kind}: one bank of {memory.banks}, {show_size(memory.bytes_per_bank)}; {free} free, "
            f"largest free block {show_size(memory.largest_free_per_bank)}"
        )
        owners = list(memory.owners().items())
        rows = [
            (tag or "(no tag)", show_size(size), _bar(size, memory.bytes_per_bank)) for tag, size in owners[:_MOST_ROWS]
        ]
        parts.append(_table(("tag", "in each bank", ""), rows, caption))
    return "\n".join(parts)
