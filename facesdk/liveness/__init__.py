"""Whether a person is there: evidence from frames, a challenge, the verdict. Pure code; its clock is the frames'."""
