"""Networks: plain `nn.Module`s with flat arguments that know nothing of configs or training."""
