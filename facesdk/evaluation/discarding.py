"""Error against discarded quality: what FNMR would be if the pictures of least quality were not compared.

Source: ISO/IEC 29794-1, the error versus discard characteristic; a pair has the quality of its worse picture.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from facesdk.evaluation.features import POSE, QUALITY

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from facesdk.evaluation.features import Rows
    from facesdk.evaluation.pairs import Tail

SHARES = tuple(i / 20 for i in range(11))


def curves(mated: Tail, rows: Rows, threshold: float) -> list[dict[str, Any]]:
    """For each measure, FNMR after each of SHARES of the mated pairs was discarded; none where there are no pairs.

    The area is the mean of the curve over the shares: less is a better measure; a measure that says nothing keeps the
    FNMR of all. Of pairs of one quality those of earlier pictures are discarded first,
    which says nothing about their scores.
    """
    import numpy as np

    if not len(mated.scores):
        return []
    missed = mated.scores < np.float64(threshold)
    found = []
    for name, quality in _measures(rows).items():
        order = np.lexsort((mated.pairs[:, 1], mated.pairs[:, 0], quality[mated.pairs].min(axis=1)))
        later = np.cumsum(missed[order][::-1])[::-1]
        starts = [int(share * len(order)) for share in SHARES]
        fnmr = [float(later[start] / (len(order) - start)) for start in starts]
        found.append({"measure": name, "discarded": list(SHARES), "fnmr": fnmr, "area": float(np.mean(fnmr))})
    return sorted(found, key=lambda curve: (curve["area"], curve["measure"]))


def _measures(rows: Rows) -> dict[str, NDArray[np.float64]]:
    """Each measure so that more is better: of overexposure and angles, less is."""
    import numpy as np

    quality = {name: rows["quality"][:, i] for i, name in enumerate(QUALITY)}
    quality["overexposed"] = -quality["overexposed"]
    return {**quality, **{name: -np.abs(rows["pose"][:, i]) for i, name in enumerate(POSE)}}
