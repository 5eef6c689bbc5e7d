"""What speaks HTTP: routes, the guard at the door, and problems for people."""
