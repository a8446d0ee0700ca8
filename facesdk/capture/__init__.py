"""From pictures to samples that are good enough, and to features that are wiped after use."""
