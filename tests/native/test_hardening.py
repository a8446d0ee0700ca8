"""How the extension was built, read from the file itself; the reader is held to libraries that lack one thing each."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from facesdk import _core
from facesdk.engine import runtime

ROOT = Path(__file__).resolve().parents[2]
TOOL = ROOT / "tools" / "check_hardening.py"
sys.path.insert(0, str(TOOL.parent))

import check_hardening  # noqa: E402

# A buffer on the stack, a copy whose size only the run shows, a static with a destructor.
SOURCE = """
#include <cstdio>
#include <cstring>
struct Static { ~Static() { std::puts("ended"); } };
extern "C" int use(const char* from, unsigned long size) {
  static Static kept;
  char buffer[64];
  std::memcpy(buffer, from, size);
  return std::printf("%s", buffer) + buffer[size];
}
"""
IN_TEXT = '\nasm(".text\\n.globl in_text\\nin_text: .quad in_text\\n.previous\\n");\n'
COMMON = ["-std=c++20", "-O2", "-fPIC", "-shared", "-DFACESDK_OWN_START", "-nostartfiles"]
COMPILED = ["-fstack-protector-strong", "-U_FORTIFY_SOURCE", "-D_FORTIFY_SOURCE=3"]
LINKED = ["-Wl,-z,relro", "-Wl,-z,now", "-Wl,-z,noexecstack", "-Wl,-z,text"]
BRANCHES = {"x86_64": "-fcf-protection=full", "aarch64": "-mbranch-protection=standard"}
# What is taken away or put in its place -> what is said.
LACKING = {
    "relro": ({"-Wl,-z,relro": "-Wl,-z,norelro"}, "no GNU_RELRO"),
    "now": ({"-Wl,-z,now": "-Wl,-z,lazy"}, "not bound at start"),
    "stack": ({"-Wl,-z,noexecstack": "-Wl,-z,execstack"}, "the stack may be executed"),
    "run path": ({"": "-Wl,-rpath,/usr/lib/elsewhere"}, "a run path"),
    "text": ({"-Wl,-z,text": "-Wl,-z,notext"}, "text relocations"),
    "protector": ({"-fstack-protector-strong": "-fno-stack-protector"}, "no stack protector"),
    "fortify": ({"-D_FORTIFY_SOURCE=3": ""}, "not fortified: calls memcpy, printf"),
}


def make(folder: Path, flags: list[str], *, machine: str = "x86_64", source: str = SOURCE) -> Path:
    """A library, compiled for a machine; skips where there is no compiler for it."""
    compiler = shutil.which(f"{machine}-linux-gnu-g++")
    if compiler is None:
        pytest.skip(f"there is no {machine}-linux-gnu-g++ here")
    library, text = folder / f"lib{machine}.so", folder / "library.cpp"
    text.write_text(source)
    command = [
        compiler,
        *COMMON,
        *filter(None, flags),
        str(text),
        str(ROOT / "native" / "start.cpp"),
        "-o",
        str(library),
    ]
    subprocess.run(command, check=True, capture_output=True)
    return library


def flags_for(machine: str, changes: dict[str, str] | None = None) -> list[str]:
    changes = changes or {}
    flags = [*COMPILED, *LINKED, BRANCHES[machine]]
    return [changes.get(flag, flag) for flag in flags] + [changes.get("", "")]


def test_the_extension_module_in_use_is_hardened() -> None:
    assert check_hardening.problems(Path(_core.__file__)) == []


@pytest.mark.parametrize("machine", list(BRANCHES))
def test_all_flags_give_a_hardened_library(machine: str, tmp_path: Path) -> None:
    assert check_hardening.problems(make(tmp_path, flags_for(machine), machine=machine)) == []


@pytest.mark.parametrize("machine", list(BRANCHES))
@pytest.mark.parametrize("lacking", list(LACKING))
def test_each_flag_that_is_missing_is_named_alone(lacking: str, machine: str, tmp_path: Path) -> None:
    changes, expected = LACKING[lacking]
    source = SOURCE + IN_TEXT if lacking == "text" else SOURCE
    (found,) = check_hardening.problems(make(tmp_path, flags_for(machine, changes), machine=machine, source=source))
    assert expected in found


@pytest.mark.parametrize(
    ("machine", "flag", "bits"),
    [
        ("x86_64", "-fcf-protection=none", 0), ("x86_64", "-fcf-protection=branch", 1),
        ("x86_64", "-fcf-protection=return", 2), ("aarch64", "-mbranch-protection=none", 0),
        ("aarch64", "-mbranch-protection=bti", 1), ("aarch64", "-mbranch-protection=pac-ret", 2),
    ],
)  # fmt: skip
def test_half_protected_branches_are_named(machine: str, flag: str, bits: int, tmp_path: Path) -> None:
    library = make(tmp_path, flags_for(machine, {BRANCHES[machine]: flag}), machine=machine)
    (found,) = check_hardening.problems(library)
    assert f"bits {bits:#x}" in found


def test_a_library_that_is_fortified_in_part_is_named(tmp_path: Path) -> None:
    """One file of a library that was compiled without."""
    flags = flags_for("x86_64")
    plain = """
#undef _FORTIFY_SOURCE
#include <cstdio>
extern "C" void say(FILE* to, int n) { std::fprintf(to, "%d", n); }
"""
    (tmp_path / "plain.cpp").write_text(plain)
    library = make(tmp_path, [*flags, str(tmp_path / "plain.cpp")])
    (found,) = check_hardening.problems(library)
    assert "partly not fortified: calls fprintf" in found


def test_what_is_no_library_is_refused(tmp_path: Path) -> None:
    whole = Path(_core.__file__).read_bytes()
    for size in (0, 3, 63, 64, 200):
        (tmp_path / "cut.so").write_bytes(whole[:size])
        with pytest.raises(ValueError, match=r"."):
            check_hardening.problems(tmp_path / "cut.so")


def test_the_command_says_what_is_wrong_and_fails(tmp_path: Path) -> None:
    bad = make(tmp_path, flags_for("x86_64", {"-Wl,-z,now": "-Wl,-z,lazy"}))
    for paths, code, text in (
        ([_core.__file__], 0, "hardened"), ([_core.__file__, str(bad)], 1, "not bound at start"),
        ([str(tmp_path / "none.so")], 1, "No such file"), ([], 2, ""),
    ):  # fmt: skip
        done = subprocess.run([sys.executable, str(TOOL), *paths], capture_output=True, text=True)
        assert (done.returncode, text in done.stdout) == (code, True), done


def test_the_wheels_script_checks_each_extension() -> None:
    assert 'tools/check_hardening.py" "$extension"' in (ROOT / "tools" / "build_wheels.sh").read_text()


def test_what_the_documents_say_about_litert_is_so() -> None:
    found = check_hardening.problems(Path(runtime.LITERT) / "libLiteRt.so")
    machine = check_hardening.Library(Path(_core.__file__).read_bytes()).machine
    late = ["not bound at start"] if machine == check_hardening.X86_64 else []
    expected = [*late, "not marked for", "partly not fortified: calls fprintf, vfprintf"]
    assert len(found) == len(expected)
    assert all(line.startswith(start) for line, start in zip(found, expected, strict=True))


MAIN = """
#include <dlfcn.h>
#include <stdio.h>
int main(int argc, char** argv) {
  void* library = dlopen(argv[argc - 1], RTLD_NOW);
  if (library == 0) return 3;
  int (*use)(const char*, unsigned long) = (int (*)(const char*, unsigned long))dlsym(library, "use");
  printf(" %d\\n", use("x", 2));
  return dlclose(library);
}
"""


def run_there(library: Path) -> subprocess.CompletedProcess[str]:
    """The library in a program on an emulated processor that checks where jumps land."""
    if shutil.which("qemu-aarch64-static") is None:
        pytest.skip("there is no qemu-aarch64-static here")
    program = library.with_name("main")
    (library.parent / "main.c").write_text(MAIN)
    subprocess.run(["aarch64-linux-gnu-gcc", str(library.parent / "main.c"), "-o", str(program), "-ldl"], check=True)
    # `max` is the one model that does; nothing is computed here, so that its int8 results are wrong does not matter.
    command = ["qemu-aarch64-static", "-cpu", "max", "-L", "/usr/aarch64-linux-gnu", str(program), str(library)]
    return subprocess.run(command, capture_output=True, text=True, cwd=library.parent)


def test_our_start_file_runs_where_landing_places_are_enforced(tmp_path: Path) -> None:
    library = make(tmp_path, flags_for("aarch64"), machine="aarch64")
    done = run_there(library)
    assert (done.returncode, done.stdout.split()) == (0, ["x", "1", "ended"]), done
    # They are: marked by force, without landing places, it is killed (SIGILL).
    marked = flags_for("aarch64", {BRANCHES["aarch64"]: "-mbranch-protection=none", "": "-Wl,-z,force-bti"})
    assert run_there(make(tmp_path, marked, machine="aarch64")).returncode == -4
