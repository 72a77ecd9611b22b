"""Orders: what an operator has ordered of a primary, on record in the database."""
