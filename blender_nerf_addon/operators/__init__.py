"""Operators: each checks, hands over to `capture`, `jobs` and `importers`, and says what happened."""
