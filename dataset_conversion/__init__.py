"""Converters from raw downloads (`datasets`) to nnU-Net's raw format, and folds for it."""
