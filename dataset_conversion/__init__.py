"""Converters from the raw downloads of BraTS and AbdomenCT-1K to nnU-Net's raw format."""
