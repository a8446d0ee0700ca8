"""python -m facesdk, and the command facesdk."""

import contextlib
import sys


def run() -> int:
    """The command in a process of its own: its libraries see no settings that the environment makes for them."""
    from facesdk.environment import clean

    clean()
    from facesdk.cli import main

    with contextlib.suppress(ImportError):  # where it is not built, the commands say so
        from facesdk.vault.memory import protect_process

        protect_process()
    return main()


if __name__ == "__main__":
    sys.exit(run())
