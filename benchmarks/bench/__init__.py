"""`make bench`: memr's speed compared with alternatives, and its behaviour with large memories."""
