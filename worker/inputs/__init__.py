"""Input images: reading, preprocessing, views, and the predictions for them."""
