"""A fair comparison of losses from one file: trained by nnU-Net's own commands, evaluated, compared and reported."""
