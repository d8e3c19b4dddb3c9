"""What the rows of finished runs tell about the method: calibration of its early stop, and the paper's analyses."""
