"""This process, its machine, and the other processes of a run."""
