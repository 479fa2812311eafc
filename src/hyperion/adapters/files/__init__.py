"""Files of packages, state and reports: written whole or not at all, locked, digested."""
