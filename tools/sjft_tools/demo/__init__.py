"""The demo: made-up source images, real digits, and the commands a user would type on them."""
