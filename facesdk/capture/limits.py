"""How long sessions take and how many frames decide: what callers see without loading what looks."""

TIMEOUT_S, LONGEST_TIMEOUT_S = 30.0, 600.0
ENROLLMENT_S = 120.0
LEAVE_AFTER_S = 5.0  # who was not seen for so long has left
DECIDING = 3  # frames
