"""The audit log: what happened to a template, in a chain of entries whose end is sealed."""
