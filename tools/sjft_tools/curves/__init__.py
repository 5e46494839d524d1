"""Training curves, from logs and CSVs to pictures."""
