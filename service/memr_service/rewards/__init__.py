"""The mathematics of a reward: components, guards, window scaling and the sum. Nothing here changes a run."""
