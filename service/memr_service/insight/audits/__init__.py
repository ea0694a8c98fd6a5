"""Audits: is a run collapsing, leaking the label, or drifting?"""
