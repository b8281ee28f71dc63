"""Runs a trained generator: pictures in, pictures out."""
