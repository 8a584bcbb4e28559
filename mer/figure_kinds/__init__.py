"""What ``mer figures`` draws of networks: one module a kind of picture, and what they share."""
