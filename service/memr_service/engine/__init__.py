"""The main path: a request in, a response out; barriers, idempotency and the one thread that changes runs."""
