"""What this machine is and has, and what an Edge TPU would do with a network."""
