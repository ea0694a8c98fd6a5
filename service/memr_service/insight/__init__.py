"""What a run can be asked about. Everything here reads; nothing in it is on the way of a reward."""
