"""Tasks: the toys `clock`, `dial`, `dial-pool`, `dial-dead`; `chain-sum`, `stories`, `gsm8k`, your own (`jsonl`)."""
