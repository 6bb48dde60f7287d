"""Laws: what a player owns follows from an opening and the receipts since, by the rules' tables alone."""
