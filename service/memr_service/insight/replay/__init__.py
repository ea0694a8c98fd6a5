"""Replay: a run's journal scored again under its own or another config."""
