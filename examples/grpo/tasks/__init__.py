"""Tasks: `clock`, `dial` and `dial-pool` (toys), `chain-sum`, `stories`, `gsm8k`, and your own questions (`jsonl`)."""
