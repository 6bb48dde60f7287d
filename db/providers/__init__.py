"""Who runs the server: what a provider promises, whether it is fit for production, and a restore that proves it."""
