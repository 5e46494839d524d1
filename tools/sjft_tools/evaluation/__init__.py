"""A trained net's accuracy on an image LMDB, measured as published."""
