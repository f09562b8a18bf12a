"""What can be wrong with an installation, one check per function, each of which says what to do."""
