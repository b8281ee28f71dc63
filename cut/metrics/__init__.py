"""Scores as pure functions: arrays in, a number out."""
