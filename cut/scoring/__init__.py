"""Scores folders of pictures: pairs, features and labels read from files, handed to the pure functions of metrics."""
