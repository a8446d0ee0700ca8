"""What a verification decides with, and what a template learns from it: few samples, surely the owner's, for a while.

The enrolled samples stay as they are. With what was learned the owner is missed less often on the whole, and a match
still needs the enrolled samples' own score to hold the next looser target: whatever got in, nobody opens who does not
hold that. Each rule was simulated on people of LFW: benchmarks/learning.py, docs/learning.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from facesdk.lazy import attributes

if TYPE_CHECKING:
    from facesdk.learning.comparison import Comparison, Learner
    from facesdk.learning.rule import Rule
    from facesdk.learning.sets import (
        EVERY_S,
        LEAST_TO_MOVE,
        LIFE_S,
        MAX_LEARNED,
        MOST_SAMPLES,
        MOST_TO_MOVE,
        Due,
        Moving,
        Taken,
        due,
        learned_of,
        may_move,
        moving_of,
        sets_with,
    )

_SETS = (
    "EVERY_S", "LEAST_TO_MOVE", "LIFE_S", "MAX_LEARNED", "MOST_SAMPLES", "MOST_TO_MOVE", "Due", "Moving", "Taken",
    "due", "learned_of", "may_move", "moving_of", "sets_with",
)  # fmt: skip
_WHERE = {"Comparison": "comparison", "Learner": "comparison", "Rule": "rule", **dict.fromkeys(_SETS, "sets")}

__all__ = [
    "EVERY_S", "LEAST_TO_MOVE", "LIFE_S", "MAX_LEARNED", "MOST_SAMPLES", "MOST_TO_MOVE", "Comparison", "Due", "Learner",
    "Moving", "Rule", "Taken", "due", "learned_of", "may_move", "moving_of", "sets_with",
]  # fmt: skip

__getattr__, __dir__ = attributes(__name__, _WHERE)
