"""`make experiment`: does a memory reward help? Methods and controls are compared seed by seed."""
