"""Networks that are not shipped: read from files that a user has got himself, converted, checked, kept."""
