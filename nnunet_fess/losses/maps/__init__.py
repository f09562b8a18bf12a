"""Maps: what a loss draws of a target before it looks at the network's output. Functions of labels, spacing and grid alone."""
