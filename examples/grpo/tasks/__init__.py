"""Tasks: `clock` and `dial` (toys), `gsm8k`, and your own questions (`jsonl`)."""
