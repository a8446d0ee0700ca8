"""The phone's attempt rules as a pure state machine: no clock, no files; docs/attempts.md shows its table.

Times are CLOCK_BOOTTIME in nanoseconds, whole numbers, of the boot that made the state. Every function returns a new
state; the caller saves it together with the opened key, and forgets the key whenever the state is PassphraseRequired.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import Enum
from types import MappingProxyType
from typing import TypeAlias

from facesdk.errors import InputError, LockedOutError, PassphraseRequiredError, Reason
from facesdk.vault.rules import MAX_DELAY_S, AttemptRules

NS = 1_000_000_000
TIME_BOUND_NS = 1 << 62  # 146 years of one boot, so that every sum fits a signed 64-bit integer


class AttemptEvent(Enum):
    """What can happen; the value says when to report it."""

    PASSPHRASE_OK = "the right passphrase was given"
    PASSPHRASE_WRONG = "a wrong passphrase was given"
    ATTEMPT = "a face of adequate quality is about to be compared"
    MATCH = "a charged comparison was a match"
    MISMATCH = "a charged comparison was not a match, or liveness refused it"
    POOR_SAMPLE = "no face, several, or too poor to compare"
    TIME = "time has passed"
    LOCK = "the owner locks"
    PANIC = "the owner forgets every key at once"
    REMOVE = "the user is removed"
    RESTART = "the device or program started, or the key was lost"


class Phase(Enum):
    """The kinds of state; the value is what status shows."""

    PASSPHRASE_REQUIRED = "passphrase required"
    READY = "ready"
    DELAYED = "delayed"


def _check_whole(name: str, value: int, below: int) -> None:
    if type(value) is not int or not 0 <= value < below:
        raise InputError(f"{name} must be a whole number from 0 to {below - 1}, not {value!r}")


@dataclass(frozen=True, kw_only=True)
class Ready:
    """The key is open: READY, or DELAYED while not_before_ns lies ahead. Checked when made (InputError).

    opened_ns: when the passphrase was given. active_ns: the last match, or else opened_ns. failures: attempts charged
    since then. not_before_ns: no attempt before this, 0 for none.
    """

    opened_ns: int
    active_ns: int
    failures: int
    not_before_ns: int

    def __post_init__(self) -> None:
        for name in ("opened_ns", "active_ns", "failures", "not_before_ns"):
            _check_whole(name, getattr(self, name), 1 << 63)
        if self.active_ns < self.opened_ns:
            raise InputError(f"active_ns must not be before opened_ns ({self.opened_ns}), not {self.active_ns}")


@dataclass(frozen=True)
class PassphraseRequired:
    """PASSPHRASE_REQUIRED: the key is to be forgotten, whatever a face does. Checked when made (InputError)."""

    reason: Reason

    def __post_init__(self) -> None:
        if not isinstance(self.reason, Reason):
            raise InputError(f"reason must be a Reason, not {self.reason!r}")


State: TypeAlias = Ready | PassphraseRequired


def _ready(state: State) -> Ready:
    """The state as Ready; the table asks for it in no other kind."""
    if isinstance(state, Ready):
        return state
    raise PassphraseRequiredError(state.reason)


def _stay(state: State, _now_ns: int, _rules: AttemptRules) -> State:
    return state


def _open(_state: State, now_ns: int, _rules: AttemptRules) -> State:
    return Ready(opened_ns=now_ns, active_ns=now_ns, failures=0, not_before_ns=0)


def _elapse(state: State, now_ns: int, rules: AttemptRules) -> State:
    """What time and changed rules leave of a state. A time before its own, or a delay no rule gives: another boot's."""
    ready = _ready(state)
    if now_ns < ready.active_ns or ready.not_before_ns > now_ns + MAX_DELAY_S * NS:
        return PassphraseRequired(Reason.NOT_UNLOCKED)
    if ready.failures >= rules.passphrase_after:
        return PassphraseRequired(Reason.FAILURES)
    if now_ns - ready.opened_ns >= rules.passphrase_every_s * NS:
        return PassphraseRequired(Reason.EXPIRED)
    if rules.idle_s is not None and now_ns - ready.active_ns >= rules.idle_s * NS:
        return PassphraseRequired(Reason.IDLE)
    return ready


def _charge(state: State, now_ns: int, rules: AttemptRules) -> State:
    ready = _ready(state)
    failures = ready.failures + 1
    if failures >= rules.passphrase_after:
        return PassphraseRequired(Reason.FAILURES)
    delay_ns = rules.delay_s(failures) * NS
    return replace(ready, failures=failures, not_before_ns=now_ns + delay_ns if delay_ns else 0)


def _refuse_locked(state: State, _now_ns: int, _rules: AttemptRules) -> State:
    reason = state.reason if isinstance(state, PassphraseRequired) else Reason.NOT_UNLOCKED
    raise PassphraseRequiredError(reason)


def _refuse_early(state: State, now_ns: int, _rules: AttemptRules) -> State:
    """Whole seconds, rounded up: whoever waits that long may try again."""
    raise LockedOutError(-(-(_ready(state).not_before_ns - now_ns) // NS))


def _reset(state: State, now_ns: int, _rules: AttemptRules) -> State:
    return replace(_ready(state), active_ns=now_ns, failures=0, not_before_ns=0)


@dataclass(frozen=True)
class Transition:
    """One cell of TABLE: what it says in the documentation, and the function that does it."""

    says: str
    to: Callable[[State, int, AttemptRules], State]


def _require(reason: Reason) -> Transition:
    return Transition(
        f"passphrase required ({reason.name})", lambda _state, _now_ns, _rules: PassphraseRequired(reason)
    )


_STAY = Transition("stays", _stay)
_OPEN = Transition("ready, 0 failures, both clocks start", _open)
_ELAPSE = Transition("stays, or passphrase required (EXPIRED, IDLE, FAILURES, NOT_UNLOCKED)", _elapse)
_WAIT = Transition("stays, ready once the delay is over, or passphrase required as when ready", _elapse)
_CHARGE = Transition("failures + 1: ready, delayed, or passphrase required (FAILURES)", _charge)
_LOCKED = Transition("raises PassphraseRequiredError", _refuse_locked)
_EARLY = Transition("raises LockedOutError", _refuse_early)
_RESET = Transition("ready, 0 failures, idle clock starts", _reset)
_LOCK, _PANIC = _require(Reason.LOCKED), _require(Reason.PANIC)
_REMOVE, _RESTART = _require(Reason.REMOVED), _require(Reason.NOT_UNLOCKED)

TABLE: Mapping[tuple[Phase, AttemptEvent], Transition] = MappingProxyType(
    {
        (Phase.PASSPHRASE_REQUIRED, AttemptEvent.PASSPHRASE_OK): _OPEN,
        (Phase.PASSPHRASE_REQUIRED, AttemptEvent.PASSPHRASE_WRONG): _STAY,
        (Phase.PASSPHRASE_REQUIRED, AttemptEvent.ATTEMPT): _LOCKED,
        (Phase.PASSPHRASE_REQUIRED, AttemptEvent.MATCH): _STAY,
        (Phase.PASSPHRASE_REQUIRED, AttemptEvent.MISMATCH): _STAY,
        (Phase.PASSPHRASE_REQUIRED, AttemptEvent.POOR_SAMPLE): _STAY,
        (Phase.PASSPHRASE_REQUIRED, AttemptEvent.TIME): _STAY,
        (Phase.PASSPHRASE_REQUIRED, AttemptEvent.LOCK): _LOCK,
        (Phase.PASSPHRASE_REQUIRED, AttemptEvent.PANIC): _PANIC,
        (Phase.PASSPHRASE_REQUIRED, AttemptEvent.REMOVE): _REMOVE,
        (Phase.PASSPHRASE_REQUIRED, AttemptEvent.RESTART): _RESTART,
        (Phase.READY, AttemptEvent.PASSPHRASE_OK): _OPEN,
        (Phase.READY, AttemptEvent.PASSPHRASE_WRONG): _STAY,
        (Phase.READY, AttemptEvent.ATTEMPT): _CHARGE,
        (Phase.READY, AttemptEvent.MATCH): _RESET,
        (Phase.READY, AttemptEvent.MISMATCH): _STAY,
        (Phase.READY, AttemptEvent.POOR_SAMPLE): _STAY,
        (Phase.READY, AttemptEvent.TIME): _ELAPSE,
        (Phase.READY, AttemptEvent.LOCK): _LOCK,
        (Phase.READY, AttemptEvent.PANIC): _PANIC,
        (Phase.READY, AttemptEvent.REMOVE): _REMOVE,
        (Phase.READY, AttemptEvent.RESTART): _RESTART,
        (Phase.DELAYED, AttemptEvent.PASSPHRASE_OK): _OPEN,
        (Phase.DELAYED, AttemptEvent.PASSPHRASE_WRONG): _STAY,
        (Phase.DELAYED, AttemptEvent.ATTEMPT): _EARLY,
        (Phase.DELAYED, AttemptEvent.MATCH): _RESET,
        (Phase.DELAYED, AttemptEvent.MISMATCH): _STAY,
        (Phase.DELAYED, AttemptEvent.POOR_SAMPLE): _STAY,
        (Phase.DELAYED, AttemptEvent.TIME): _WAIT,
        (Phase.DELAYED, AttemptEvent.LOCK): _LOCK,
        (Phase.DELAYED, AttemptEvent.PANIC): _PANIC,
        (Phase.DELAYED, AttemptEvent.REMOVE): _REMOVE,
        (Phase.DELAYED, AttemptEvent.RESTART): _RESTART,
    }
)


def _kind(state: State, now_ns: int) -> Phase:
    if isinstance(state, PassphraseRequired):
        return Phase.PASSPHRASE_REQUIRED
    return Phase.DELAYED if now_ns < state.not_before_ns else Phase.READY


def step(state: State, event: AttemptEvent, *, now_ns: int, rules: AttemptRules) -> State:
    """The state after the event. TIME is applied before every other event, so no event sees an expired state.

    Raises for ATTEMPT alone PassphraseRequiredError (reason) and LockedOutError (whole seconds to wait), and InputError
    for a state, event or time that is none. Guarantees: only PASSPHRASE_OK leads out of PassphraseRequired. Does not
    know whether a MATCH was charged: use charge(), which does.
    """
    if not isinstance(state, (Ready, PassphraseRequired)) or not isinstance(event, AttemptEvent):
        raise InputError(f"step needs a Ready or PassphraseRequired and an AttemptEvent, not {state!r} and {event!r}")
    _check_whole("now_ns", now_ns, TIME_BOUND_NS)
    state = TABLE[_kind(state, now_ns), AttemptEvent.TIME].to(state, now_ns, rules)
    return TABLE[_kind(state, now_ns), event].to(state, now_ns, rules)


def kind(state: State, *, now_ns: int, rules: AttemptRules) -> Phase:
    """Which kind of state holds now, after what time did to it. InputError as in step."""
    return _kind(step(state, AttemptEvent.TIME, now_ns=now_ns, rules=rules), now_ns)


@dataclass(frozen=True, kw_only=True)
class Charged:
    """One attempt, paid for before its comparison: save `after`, then compare, then save match() or mismatch().

    A kill in between leaves `after`: the attempt is lost and nothing is won. The last attempt's is PassphraseRequired.
    """

    before: Ready
    after: State

    def match(self, saved: State, *, now_ns: int, rules: AttemptRules) -> State:
        """The state to save after a match; the match opens only if it is Ready.

        saved: the state as it is saved now. If it is still `after`, the charge is given back; whatever else happened in
        between (lock, panic, removal, another process's attempts) holds. Time holds too: no match outlives an expiry.
        """
        base = self.before if saved == self.after else saved
        return step(base, AttemptEvent.MATCH, now_ns=now_ns, rules=rules)

    def mismatch(self, saved: State, *, now_ns: int, rules: AttemptRules) -> State:
        """The state after a comparison that was no match: the saved one, and what time did to it."""
        return step(saved, AttemptEvent.MISMATCH, now_ns=now_ns, rules=rules)


def charge(state: State, *, now_ns: int, rules: AttemptRules) -> Charged:
    """One paid attempt. Raises PassphraseRequiredError, LockedOutError or InputError as step does, and pays nothing."""
    before = step(state, AttemptEvent.TIME, now_ns=now_ns, rules=rules)
    after = step(before, AttemptEvent.ATTEMPT, now_ns=now_ns, rules=rules)
    return Charged(before=_ready(before), after=after)


def markdown_table() -> str:
    """TABLE as the Markdown table of docs/attempts.md, one row for each event, with a line feed at its end."""
    lines = ["| event | " + " | ".join(column.value for column in Phase) + " |", "|---|" + "---|" * len(Phase)]
    for event in AttemptEvent:
        cells = " | ".join(TABLE[column, event].says for column in Phase)
        lines.append(f"| {event.name}: {event.value} | {cells} |")
    return "\n".join(lines) + "\n"
