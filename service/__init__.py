"""The service: HTTP, the log, the fold over it, and the command line."""
