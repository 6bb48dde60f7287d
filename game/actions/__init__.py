"""One module an area, one function a command."""
