"""Tasks: `clock`, `dial` and `dial-pool` (toys), `gsm8k`, and your own questions (`jsonl`)."""
