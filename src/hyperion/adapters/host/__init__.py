"""The machine, its clock, and what a process uses of them."""
