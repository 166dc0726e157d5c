"""What happens to jobs outside the worker's computation: how they finish, are recovered, and expire."""
