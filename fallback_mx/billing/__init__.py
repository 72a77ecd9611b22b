"""The bill of a month: users, storage, discount, credit, tax. docs/invoice.md says how the rules are read."""
