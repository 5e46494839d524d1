"""`sjft neighbours`: what a neighbour LMDB would select for training, and how far away it is."""
