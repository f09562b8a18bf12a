"""An example of a loss for nnU-Net in a package of its own: the logarithm of the Tversky index."""
