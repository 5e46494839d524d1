"""Published weights, and what of a weights file a net takes."""
