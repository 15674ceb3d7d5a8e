"""What the broker answers over HTTP."""
