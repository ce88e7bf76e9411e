"""What jobs on one node share: the holds, their keepers, and the one of them that leads."""
