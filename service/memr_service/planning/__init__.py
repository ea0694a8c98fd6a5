"""Which prompts to sample next, from pass rates."""
