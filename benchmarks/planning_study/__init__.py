"""Does planning help? The tiny model on a pool with dead questions, with and without a plan."""
