"""One file per decoding library; ``pipeline.video.decode`` chooses between them."""
