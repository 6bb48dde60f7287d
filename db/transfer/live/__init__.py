"""Copies a legacy file that players go on playing on: batches first, then rounds of what changed meanwhile.

capture notes which rows change, copying loads the file in batches, rounds apply what was noted, frozen proves it all at
one instant. A round costs by the rows that changed, whatever the size of the file.
"""
