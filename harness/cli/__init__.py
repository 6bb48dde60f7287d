"""The tasks, one module a family, and what they are made of. The one package that may import invoke."""
