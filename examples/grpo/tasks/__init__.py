"""Tasks: `clock`, `dial` and `dial-pool` (toys), `chain-sum`, `gsm8k`, and your own questions (`jsonl`)."""
