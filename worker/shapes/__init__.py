"""The built-in network: twelve drawn things, the script that draws them and the script that learns them."""
