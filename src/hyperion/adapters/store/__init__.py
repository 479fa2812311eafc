"""What a host keeps: packages, the ledger, and what was proven."""
