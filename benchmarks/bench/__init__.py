"""`make bench`: how fast memr is beside what one would use otherwise, and what it takes to be large."""
