"""One training run: score, commit, apply; recovery, history, archive and presets."""
