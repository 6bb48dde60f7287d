"""Strikes: any runbook as a real process, cut, killed, stopped and watched at every statement inside its steps."""
