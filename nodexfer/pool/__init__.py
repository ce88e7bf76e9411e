"""The user's endpoints on the shared file system, and who has which."""
