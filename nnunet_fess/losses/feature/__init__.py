"""Feature losses: called with embeddings, not with logits and a target."""
