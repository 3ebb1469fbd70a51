"""What the cached stages and the runs beside the checkout are made with."""
