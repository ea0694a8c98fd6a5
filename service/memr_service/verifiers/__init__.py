"""Verifiers: is an answer right, and are two answers equal?"""
