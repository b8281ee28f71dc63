"""Losses: tensors in, scalar out, no state. All compute in float32, also under autocast."""
