"""Networks for nnU-Net's plans: the planned U-Net in another size, and others beside it."""
