"""What ``sjft train`` is made of: a launcher that watches, and the processes that train."""
