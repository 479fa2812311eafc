"""Faults while clients are served: swaps, rollbacks, kills, bad candidates, bad hosts (``make faults``)."""
