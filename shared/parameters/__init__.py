"""What each method can be told: a module of parameters for each, and what several of them share."""
