"""One file per decoding library, behind ``interface``; ``pipeline.video.decode`` chooses by ``registry``."""
