"""Sound in and out: reading files, features, players. Imports nothing else of the course but its errors."""
