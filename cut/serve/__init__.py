"""A page on this machine to try models on and to watch trainings, and the same for programs."""
