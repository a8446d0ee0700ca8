"""What the attempt rules' tests share: the presets, units of time, and one state of each kind."""

from __future__ import annotations

from facesdk.errors import Reason
from facesdk.vault.attempts import PassphraseRequired, Phase, Ready
from facesdk.vault.rules import AttemptRules

S = 1_000_000_000
H = 3600 * S
PHONE, STRICT, CONVENIENCE = (AttemptRules.preset(name) for name in ("phone", "strict", "convenience"))

# One state of each kind, at one moment of the phone preset.
NOW = 10 * H
STATES = {
    Phase.PASSPHRASE_REQUIRED: PassphraseRequired(Reason.EXPIRED),
    Phase.READY: Ready(opened_ns=1 * H, active_ns=2 * H, failures=4, not_before_ns=0),
    Phase.DELAYED: Ready(opened_ns=1 * H, active_ns=2 * H, failures=6, not_before_ns=NOW + 59 * S + 1),
}
