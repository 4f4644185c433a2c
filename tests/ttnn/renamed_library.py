# SPDX-License-Identifier: Apache-2.0
"""A copy of the TT-NN package in which a function goes by another name, as in a version that does not have it.

The name is changed wherever it stands, so the package itself works as before. The new name has the same GNU hash, by which
the loader looks names up: h = 33 h + c, so one letter up and the next one down by 33 cancel.
"""

import re


def other_name(name):
    """A name of the same length and GNU hash that is no name of the package."""
    for at in range(len(name) - 10, 10, -1):
        first, second = name[at], name[at + 1]
        if first.isalpha() and first not in "zZ" and "b" <= second <= "z" and chr(ord(second) - 33).isupper():
            return name[:at] + chr(ord(first) + 1) + chr(ord(second) - 33) + name[at + 2 :]
    raise ValueError(name)


def copy_without(package, folder, *names):
    """Makes folder/ttnn, a copy of the package with libraries of its own; returns how many of them were changed."""
    target = folder / "ttnn"
    libraries = target / "build" / "lib"
    libraries.mkdir(parents=True)
    # The libraries find each other, and the rest, by the folder that they are loaded from: they cannot be links to elsewhere.
    sources = {path: libraries for path in (package / "build" / "lib").iterdir()}
    for entry in package.iterdir():
        if entry.suffix == ".so":
            sources[entry] = target
        elif entry.name != "build":
            (target / entry.name).symlink_to(entry)
    (folder / "ttnn.libs").symlink_to(package.parent / "ttnn.libs")
    changed = 0
    for source, place in sources.items():
        old = source.read_bytes()
        new = old
        for name in names:
            new = re.sub(rb"\0" + name.encode() + rb"\0", b"\0" + other_name(name).encode() + b"\0", new)
        changed += new != old
        (place / source.name).write_bytes(new)
    return changed
