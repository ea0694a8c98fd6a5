"""What a run remembers, and the records that change it: state = fold(apply, records)."""
