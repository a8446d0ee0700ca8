"""The extension module and LiteRT's library beside it; everything else stands in pyproject.toml."""

import os
import re
import shutil
import subprocess
import sys
from glob import glob
from importlib.util import find_spec
from pathlib import Path

import pybind11
from pybind11.setup_helpers import ParallelCompile, Pybind11Extension, build_ext
from setuptools import setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.errors import SetupError

sys.path.insert(0, str(Path(__file__).resolve().parent / "tools"))
import sbom
from incremental import ChangedOnly

# As many compilers as processors; NPY_NUM_BUILD_JOBS says otherwise.
ParallelCompile("NPY_NUM_BUILD_JOBS", default=0).install()

core = Pybind11Extension(
    "facesdk._core",
    sorted(["native/start.cpp", *glob("native/bindings/*.cpp"), *glob("native/core/**/*.cpp", recursive=True)]),
    include_dirs=["native"],
    cxx_std=20,
    extra_compile_args=[
        # No contraction: every kernel variant must give the scalar one's bits.
        *("-O3", "-ffp-contract=off", "-Wall", "-Wextra", "-fvisibility=hidden"),
        # Undefined first: Debian's Python asks for level 2, and two definitions are a warning.
        *("-fstack-protector-strong", "-U_FORTIFY_SOURCE", "-D_FORTIFY_SOURCE=3"),
    ],
    extra_link_args=["-Wl,-z,relro,-z,now,-z,noexecstack,-z,text", "-Wl,-z,max-page-size=65536"],
    libraries=["dl"],
)
# Marked landing places and returns that are checked, by what the compiler compiles for; tools/check_hardening.py sees
# whether the library came out marked. Outline atomics are code of libgcc, which is not marked.
BRANCHES = {
    "x86_64": ["-fcf-protection=full"],
    "aarch64": ["-mbranch-protection=standard", "-mno-outline-atomics"],
}
LITERT_VERSION = re.findall(r"ai-edge-litert==([\d.]+)", Path("pyproject.toml").read_text(encoding="utf-8"))[0]
LITERT_MACHINES = {62: "x86_64", 183: "aarch64"}  # by e_machine, as in elf.h


def machine_of(path: Path) -> int:
    """The e_machine of an ELF file."""
    return int.from_bytes(path.read_bytes()[18:20], "little")


def litert_library() -> Path:
    """libLiteRt.so of the version wanted: in FACESDK_LITERT, where a wheel was unpacked, else in what is installed."""
    spec = find_spec("ai_edge_litert")
    installed = Path(spec.submodule_search_locations[0]).parent if spec and spec.submodule_search_locations else None
    folder = Path(os.environ["FACESDK_LITERT"]) if "FACESDK_LITERT" in os.environ else installed
    if folder is None or not (folder / f"ai_edge_litert-{LITERT_VERSION}.dist-info").is_dir():
        raise SetupError(
            f"ai-edge-litert {LITERT_VERSION}, whose library becomes part of facesdk, was expected in "
            f"{folder or 'the environment of this build'}: pip install ai-edge-litert=={LITERT_VERSION}, "
            "or name the folder of its unpacked wheel in FACESDK_LITERT"
        )
    return folder / "ai_edge_litert" / "libLiteRt.so"


class BuildWithLiteRt(build_ext):
    """Also puts LiteRT's library and its VERSION into facesdk/_litert, for the machines that there is one for."""

    def compiler_says(self, option: str) -> str:
        """The first line of the compiler's answer."""
        command = [*self.compiler.compiler_so_cxx, option]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split("\n")[0].strip()

    def build_extensions(self) -> None:
        target = self.compiler_says("-dumpmachine").split("-")[0]
        if target in BRANCHES:
            core.extra_compile_args += [*BRANCHES[target], "-DFACESDK_OWN_START"]
            core.extra_link_args.append("-nostartfiles")
        # Every object is looked at, and linked again: a time tells nothing of flags.
        self.force = True
        self.compiler._compile = ChangedOnly(
            self.compiler._compile,
            compiler=f"{self.compiler.compiler_so_cxx} {self.compiler_says('--version')} for {target}",
            folders={pybind11.get_include(): "{pybind11}"},
        )
        super().build_extensions()

    def run(self) -> None:
        if self.editable_mode:
            # Else a folder that pip throws away.
            self.build_temp = f"build/temp.{self.plat_name}-{sys.implementation.cache_tag}"
        super().run()
        extension = Path(self.get_ext_fullpath(core.name))
        target = extension.parent / "_litert"
        shutil.rmtree(target, ignore_errors=True)
        machine = machine_of(extension)
        if machine not in LITERT_MACHINES:
            self.warn(f"LiteRT is not made for e_machine {machine}: facesdk will need a runtime of the Python packages")
            return
        library = litert_library()
        if machine_of(library) != machine:
            raise SetupError(f"{library} is not for {LITERT_MACHINES[machine]}")
        target.mkdir()
        shutil.copyfile(library, target / library.name)
        (target / "VERSION").write_text(f"{LITERT_VERSION}\n", encoding="ascii")


class WheelWithSbom(bdist_wheel):
    """Also writes the wheel's SBOM into its .dist-info/sboms (PEP 770)."""

    def write_wheelfile(self, wheelfile_base: str, *args: str) -> None:
        super().write_wheelfile(wheelfile_base, *args)
        if Path(wheelfile_base).parent != Path(self.bdist_dir):
            return  # an editable install, which has nothing in it
        build = self.get_finalized_command("build_ext")
        if isinstance(build.compiler, str | None):
            raise SetupError(
                "an SBOM names the compiler: build the extension in the same command, without --skip-build"
            )
        compiler = build.compiler_says("--version")
        sbom.write(Path(wheelfile_base), compiler=compiler, pybind11=pybind11.__version__)


setup(ext_modules=[core], cmdclass={"build_ext": BuildWithLiteRt, "bdist_wheel": WheelWithSbom})
