"""What can be learned: `clock`, `gsm8k`, and questions of one's own."""
