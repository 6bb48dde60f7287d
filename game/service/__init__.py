"""The HTTP service: endpoints over dispatch, its processes, tokens, log and metrics."""
