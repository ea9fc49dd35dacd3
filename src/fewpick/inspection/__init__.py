"""What a look at data and configuration tells before a run: sizes, frames, and what a run takes."""
