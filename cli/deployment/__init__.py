"""A deployment on this machine: up and down."""
