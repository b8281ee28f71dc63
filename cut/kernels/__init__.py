"""Layers that are faster than torch's, or that divide a batch; each can be replaced by torch's."""
