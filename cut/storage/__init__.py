"""What lies on disk: files, YAML, checkpoints."""
