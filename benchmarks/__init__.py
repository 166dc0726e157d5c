"""How fast the engine is beside the libraries people use, and how well strangers recognise its pictures."""
