"""`sjft leaks`: which source images show the same picture as an image of the target's test set."""
