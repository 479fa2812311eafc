"""What a child or a worker may not do, and the children that must not do it."""
