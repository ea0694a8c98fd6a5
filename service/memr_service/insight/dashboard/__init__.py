"""What the dashboard shows of a run."""
