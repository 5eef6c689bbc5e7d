"""The commands, a module a noun. Heavy imports stay inside them."""
