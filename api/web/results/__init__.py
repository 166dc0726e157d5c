"""What the pages show of the results of jobs: items of the gallery, figures, frames, titles and captions."""
