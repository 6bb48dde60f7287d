"""The smoke test: scenarios played over HTTP on the live service, by canaries of its own."""
