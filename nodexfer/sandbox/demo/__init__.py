"""The demonstration: five jobs of one user on this machine, one endpoint, and one of the jobs is killed."""
