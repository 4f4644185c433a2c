# SPDX-License-Identifier: Apache-2.0
"""Sizes as people write and read them."""

from __future__ import annotations

import re

_PREFIXES = "KMGTPE"


def parse_size(text: str | int) -> int:
    """Bytes of "512MiB", "1.5 GiB", "2GB" (10^9), "512M" (MiB) or 4096. Raises ValueError that says what is wrong."""
    if isinstance(text, int):
        if text < 0:
            raise ValueError(f"{text} is no size: it is negative")
        return text
    match = re.fullmatch(r"\s*(\d+)(?:\.(\d+))?\s*(?:([kmgtpe])(ib|b)?|b)?\s*", text, re.IGNORECASE)
    if match is None:
        raise ValueError(f"{text!r} is no size: write it like 4096, '512 MiB', '1.5 GiB' or '2 GB'")
    whole, fraction, prefix, unit = match.groups()
    if prefix is None:
        if fraction is not None:
            raise ValueError(f"{text!r} is no size: there are no fractions of a byte")
        return int(whole)
    base = 1000 if (unit or "").lower() == "b" else 1024
    factor = int(pow(base, _PREFIXES.index(prefix.upper()) + 1))
    digits = fraction or ""
    return int(whole + digits) * factor // int(pow(10, len(digits)))


def show_size(size: int) -> str:
    """Like 1.5 GiB, with three digits at most behind the point."""
    if abs(size) < 1024:
        return f"{size} B"
    value = float(size)
    for prefix in _PREFIXES:
        value /= 1024
        if abs(value) < 1023.95 or prefix == "E":
            break
    return f"{value:.1f} {prefix}iB" if size % 1024 or value != int(value) else f"{int(value)} {prefix}iB"
