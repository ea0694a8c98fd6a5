"""Questions about runs: explanations, audits, replays, calibration, the dashboard. It only reads."""
