"""Does repairing wrong labels help? The tiny model on questions of which some have wrong labels."""
