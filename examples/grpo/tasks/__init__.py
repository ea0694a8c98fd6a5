"""Tasks: `clock`, `dial`, `dial-pool` and `dial-dead` (toys), `chain-sum`, `gsm8k`, and your own questions (`jsonl`)."""
