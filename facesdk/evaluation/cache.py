"""A folder that keeps what was computed of pictures, by their bytes: killed at any moment, it is whole.

It holds biometric features in the clear. The folder is made with mode 0700, its files with 0600; deleting the folder
deletes them.
"""

from __future__ import annotations

import contextlib
import fcntl
import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from facesdk.digest import sha256
from facesdk.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Rows = NDArray[np.void]

# So many files are made one when nobody else uses the folder.
_MANY = 32
_LOCK = "lock"


class Cache:
    """Rows of one dtype with a field `key`, in files that are whole or not there.

    name: of what made the rows; others have folders of their own beside it. Use it as a context: within, the folder is
    shared with other processes that add to it too. InputError where it cannot be read or written, or is damaged.
    """

    def __init__(self, folder: Path, name: str, dtype: np.dtype[Any]) -> None:
        self.folder = folder / f"facesdk-features-{name}"
        self.dtype = dtype
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Cache:
        with self._errors("made"):
            self.folder.parent.mkdir(parents=True, exist_ok=True)
            self.folder.mkdir(mode=0o700, exist_ok=True)
            lock = os.open(self.folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            self._stack.callback(os.close, lock)
            if self.folder.stat().st_mode & 0o077:
                raise InputError(f"{self.folder}: others may read this folder of features", hint="chmod 700 it")
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                self._tidy()
            fcntl.flock(lock, fcntl.LOCK_SH)
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def load(self) -> Rows:
        """All rows, each key once."""
        import numpy as np

        parts = [self._read(path) for path in self._files()]
        if not parts:
            return np.empty(0, self.dtype)
        rows: Rows = np.concatenate(parts) if len(parts) > 1 else parts[0]
        _, first = np.unique(rows["key"], return_index=True)
        return rows if len(first) == len(rows) else rows[np.sort(first)]

    def add(self, rows: Rows) -> Path:
        """Keeps the rows in one file, durably and all of them, or raises and keeps none."""
        import numpy as np

        content = io.BytesIO()
        np.save(content, rows, allow_pickle=False)
        data = content.getbuffer()
        name = sha256(data).hex()[:24]
        temporary = self.folder / f"{name}.new"
        with self._errors("written"):
            try:
                descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
                with open(descriptor, "wb") as file:
                    file.write(data)
                    file.flush()
                    os.fsync(file.fileno())
                os.replace(temporary, path := self.folder / f"{name}.npy")
                return path
            except BaseException:
                with contextlib.suppress(OSError):  # the first error is the one to report; the next use sweeps
                    temporary.unlink()
                raise

    def _files(self) -> list[Path]:
        return sorted(self.folder.glob("*.npy"))

    def _read(self, path: Path) -> Rows:
        import numpy as np

        with self._errors("read"):
            try:
                rows: Rows = np.load(path, allow_pickle=False)
            except (ValueError, EOFError) as error:
                raise InputError(f"{path}: damaged ({error})", hint="delete it: its pictures are read again") from error
        if rows.dtype != self.dtype or rows.ndim != 1:
            raise InputError(f"{path}: damaged (rows of another kind)", hint="delete it: its pictures are read again")
        return rows

    def _tidy(self) -> None:
        """Removes what a killed process left half written, and makes many files one. Only while nobody else is here."""
        for path in self.folder.glob("*.new"):
            path.unlink()
        files = self._files()
        if len(files) > _MANY:
            kept = self.add(self.load())
            for path in files:
                if path != kept:
                    path.unlink()

    @contextlib.contextmanager
    def _errors(self, what: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise InputError(f"{self.folder}: cannot be {what} ({error.strerror})",
                             hint="free some space there, or name another folder with --cache") from error  # fmt: skip
