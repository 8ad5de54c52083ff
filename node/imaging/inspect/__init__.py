"""What a picture file tells besides its pixels, in plain words and tag by tag."""
