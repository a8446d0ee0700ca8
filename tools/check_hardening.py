#!/usr/bin/env python3
"""check_hardening.py LIBRARY...: whether each was built so that a fault in it is harder to use. Exit code 1 if not.

Reads the ELF file itself, so a library of another machine can be checked where there are no tools for it: x86-64 and
64-bit ARM. Sources: System V ABI, gABI 4.1, "Object Files"; its x86-64 and AArch64 supplements; glibc's elf.h.
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

X86_64, AARCH64 = 62, 183
PT_DYNAMIC, PT_LOAD = 2, 1
PT_GNU_STACK, PT_GNU_RELRO, PT_GNU_PROPERTY = 0x6474E551, 0x6474E552, 0x6474E553
PF_X, PF_W = 1, 2
DT_STRTAB, DT_SYMTAB, DT_STRSZ, DT_RPATH, DT_TEXTREL = 5, 6, 10, 15, 22
DT_BIND_NOW, DT_RUNPATH, DT_FLAGS, DT_FLAGS_1 = 24, 29, 30, 0x6FFFFFFB
DT_GNU_HASH = 0x6FFFFEF5
DF_TEXTREL, DF_BIND_NOW, DF_1_NOW = 4, 8, 1
# The property of each machine, and its two bits: where jumps may land, and where returns may go.
BRANCHES = {X86_64: (0xC0000002, "IBT and SHSTK"), AARCH64: (0xC0000000, "BTI and PAC")}
# Functions of the C library that a fortified build calls by another name, __NAME_chk, where it knows a buffer's size.
FORTIFIABLE = {
    "asprintf", "confstr", "dprintf", "explicit_bzero", "fgets", "fprintf", "fread", "getcwd", "getgroups",
    "gethostname", "memcpy", "memmove", "mempcpy", "memset", "poll", "pread", "printf", "read", "readlink",
    "realpath", "recv", "recvfrom", "snprintf", "sprintf", "stpcpy", "strcat", "strcpy", "strncat", "strncpy",
    "syslog", "vasprintf", "vdprintf", "vfprintf", "vprintf", "vsnprintf", "vsprintf",
}  # fmt: skip
# Of these, the ones that are always called by the other name: there a plain call was not fortified. (vsnprintf is not
# among them: libstdc++'s headers take its address.)
ALWAYS = {
    "dprintf", "fprintf", "printf", "sprintf", "syslog", "vdprintf", "vfprintf", "vprintf", "vsprintf",
}  # fmt: skip


@dataclass(frozen=True)
class Segment:
    kind: int
    flags: int
    offset: int
    address: int
    size: int


class Library:
    """A shared library for one of the two machines. ValueError for any other file."""

    def __init__(self, data: bytes) -> None:
        if data[:6] != b"\x7fELF\x02\x01" or len(data) < 64 or data[16:18] != b"\x03\x00":
            raise ValueError("not a little-endian 64-bit shared library")
        self._data = data
        self.machine = int.from_bytes(data[18:20], "little")
        if self.machine not in BRANCHES:
            raise ValueError(f"e_machine {self.machine}: x86-64 or aarch64 was expected")
        (start,) = struct.unpack_from("<Q", data, 32)
        size, count = struct.unpack_from("<HH", data, 54)
        self.segments = [self._segment(start + i * size) for i in range(count)]
        self.dynamic = list(self._entries())

    def _segment(self, at: int) -> Segment:
        kind, flags, offset, address, _, size = struct.unpack_from("<IIQQQQ", self._data, at)
        return Segment(kind, flags, offset, address, size)

    def of(self, kind: int) -> list[Segment]:
        """The segments of one kind."""
        return [segment for segment in self.segments if segment.kind == kind]

    def _entries(self) -> Iterator[tuple[int, int]]:
        for segment in self.of(PT_DYNAMIC):
            for at in range(segment.offset, segment.offset + segment.size, 16):
                tag, value = struct.unpack_from("<qQ", self._data, at)
                if tag == 0:
                    return
                yield tag, value

    def value(self, tag: int) -> int | None:
        """The value of the first dynamic entry with this tag."""
        return next((value for found, value in self.dynamic if found == tag), None)

    def _offset(self, address: int) -> int:
        for segment in self.of(PT_LOAD):
            if segment.address <= address < segment.address + segment.size:
                return address - segment.address + segment.offset
        raise ValueError(f"no segment holds address {address:#x}")

    def imports(self) -> set[str]:
        """Names of the dynamic symbols that other libraries must define."""
        names, size, table, hashes = (self.value(tag) for tag in (DT_STRTAB, DT_STRSZ, DT_SYMTAB, DT_GNU_HASH))
        if names is None or size is None or table is None or hashes is None:
            raise ValueError("no dynamic symbols, or no GNU hash table of them")
        strings = self._data[self._offset(names) :][:size]
        # The hash table names the first symbol that it holds; imported ones are not in it and stand before.
        (count,) = struct.unpack_from("<I", self._data, self._offset(hashes) + 4)
        symbols = struct.iter_unpack("<IBBHQQ", self._data[self._offset(table) :][: count * 24])
        return {
            strings[name : strings.index(b"\0", name)].decode() for name, _, _, section, _, _ in symbols if section == 0
        }

    def branch_bits(self) -> int:
        """The bits of the machine's property about branches, 0 where there is none."""
        wanted = BRANCHES[self.machine][0]
        for segment in self.of(PT_GNU_PROPERTY):
            at, end = segment.offset + 16, segment.offset + segment.size  # behind the note's head and its name GNU
            while at + 8 <= end:
                kind, size = struct.unpack_from("<II", self._data, at)
                if kind == wanted:
                    return int.from_bytes(self._data[at + 8 : at + 8 + size], "little")
                at += 8 + -(-size // 8) * 8
        return 0


def _is_bound_at_start(library: Library) -> bool:
    flags, flags_1 = library.value(DT_FLAGS) or 0, library.value(DT_FLAGS_1) or 0
    return bool(flags & DF_BIND_NOW or flags_1 & DF_1_NOW or library.value(DT_BIND_NOW) is not None)


def _loading(library: Library) -> Iterator[str]:
    """What is wrong with how it is loaded."""
    if not library.of(PT_GNU_RELRO):
        yield "no GNU_RELRO: what the loader has resolved stays writable (-z relro)"
    if not _is_bound_at_start(library):
        yield "not bound at start: its table of functions stays writable (-z now)"
    stack = library.of(PT_GNU_STACK)
    if not stack or stack[0].flags & PF_X:
        yield "the stack may be executed (-z noexecstack)"
    if any(s.flags & PF_W and s.flags & PF_X for s in library.of(PT_LOAD)):
        yield "a segment may be written and executed"
    if library.value(DT_RPATH) is not None or library.value(DT_RUNPATH) is not None:
        yield "a run path: libraries would be looked for in a folder of the machine that built it"
    if library.value(DT_TEXTREL) is not None or (library.value(DT_FLAGS) or 0) & DF_TEXTREL:
        yield "text relocations: its code is written when it is loaded (-z text)"


def _compiling(library: Library) -> Iterator[str]:
    """What is wrong with how it was compiled."""
    bits = library.branch_bits()
    if bits & 3 != 3:
        yield f"not marked for {BRANCHES[library.machine][1]}: bits {bits:#x} (-fcf-protection, -mbranch-protection)"
    names = library.imports()
    if "__stack_chk_fail" not in names:
        yield "no stack protector (-fstack-protector-strong)"
    checked = {name for name in FORTIFIABLE if f"__{name}_chk" in names}
    plain = FORTIFIABLE & names
    if plain and not checked:
        yield f"not fortified: calls {', '.join(sorted(plain))} and no *_chk (-D_FORTIFY_SOURCE)"
    elif plain & ALWAYS:
        yield f"partly not fortified: calls {', '.join(sorted(plain & ALWAYS))} (-D_FORTIFY_SOURCE)"


def problems(path: Path) -> list[str]:
    """What is missing in a library, a line each; none if it is as it must be. ValueError if it is no such library."""
    try:
        library = Library(path.read_bytes())
        return [*_loading(library), *_compiling(library)]
    except struct.error as error:
        raise ValueError(f"cut off or damaged ({error})") from error


def main(paths: list[str]) -> int:
    """Exit code, after a line for each problem."""
    if not paths:
        print(__doc__, file=sys.stderr)
        return 2
    bad = 0
    for path in map(Path, paths):
        try:
            found = problems(path)
        except (OSError, ValueError) as error:
            found = [str(error)]
        bad += bool(found)
        print("\n".join(f"{path.name}: {line}" for line in found or ["hardened"]))
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
