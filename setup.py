"""The extension module; everything else stands in pyproject.toml."""

from glob import glob

from pybind11.setup_helpers import ParallelCompile, Pybind11Extension, build_ext
from setuptools import setup

# As many compilers as processors; NPY_NUM_BUILD_JOBS says otherwise.
ParallelCompile("NPY_NUM_BUILD_JOBS", default=0).install()

core = Pybind11Extension(
    "facesdk._core",
    sorted(glob("native/*.cpp") + glob("native/core/*.cpp")),
    include_dirs=["native"],
    depends=sorted(glob("native/*.h") + glob("native/core/*.h")),
    cxx_std=20,
    # No contraction: every kernel variant must give the scalar one's bits.
    extra_compile_args=["-O3", "-ffp-contract=off", "-Wall", "-Wextra", "-fvisibility=hidden"],
    extra_link_args=["-Wl,-z,relro,-z,now", "-Wl,-z,max-page-size=65536"],
    libraries=["dl"],
)

setup(ext_modules=[core], cmdclass={"build_ext": build_ext})
