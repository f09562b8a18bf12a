"""What `nnunet_fess demo` is made of: a phantom download, a working directory, the stages, the report."""
