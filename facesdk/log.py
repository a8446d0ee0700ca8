"""The logger "facesdk": what happened and to whom, without scores and secrets."""

import sys


def happened(text: str, *arguments: object) -> None:
    """Log at level INFO. Where the program has not imported logging nobody listens, and nothing is imported."""
    logging = sys.modules.get("logging")
    if logging is not None:
        logging.getLogger("facesdk").info(text, *arguments)
