"""Train, resume, run and score image-to-image translation GANs, each chosen by one YAML."""

__version__ = "0.1.0"
