"""Everything that touches an environment's database."""
