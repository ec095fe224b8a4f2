"""The durable pipeline from the last image to the worklist, and from signature to delivery."""
