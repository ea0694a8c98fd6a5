"""Does a memory reward help? Methods and controls over seeds, compared seed by seed: `make experiment`."""
