"""Tasks: the toys `clock`, `dial`, `dial-pool` and `dial-dead`; `chain-sum`, `gsm8k`, and your questions (`jsonl`)."""
