"""Audits: does a run's reward still mean what it should?"""
