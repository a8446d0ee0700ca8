"""Which variables must not reach the libraries beneath; docs/environment.md says what each would do."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

# By the beginnings of their names.
OPENSSL = ("OPENSSL_", "CRYPTOGRAPHY_", "CTLOG_FILE", "QLOGDIR", "SSLKEYLOGFILE")
OPENCV = ("OPENCV_", "INTEL_")
LIBCAMERA = ("LIBCAMERA_",)
SDL = ("SDL_DYNAMIC_API",)
OTHERS = ("JPEGMEM", "JSIMD_", "LITERT_", "NPY_", "NUMPY_", "OPENBLAS_VERBOSE", "PILLOW_", "RUY_", "TF_CPP_", "TSS2_")


def clean() -> None:
    """Removes all of them: for a process that is the command's own, before anything else is imported."""
    for name in _named((*OPENSSL, *OPENCV, *LIBCAMERA, *SDL, *OTHERS)):
        del os.environ[name]


@contextmanager
def without(beginnings: tuple[str, ...]) -> Iterator[None]:
    """Hides variables while a library reads its settings; the program, whose process this is, finds them again."""
    hidden = {name: os.environ.pop(name) for name in _named(beginnings)}
    try:
        yield
    finally:
        os.environ.update(hidden)


def _named(beginnings: tuple[str, ...]) -> list[str]:
    return [name for name in os.environ if name.startswith(beginnings)]
