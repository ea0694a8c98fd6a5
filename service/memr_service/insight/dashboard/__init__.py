"""What the dashboard asks about a run."""
