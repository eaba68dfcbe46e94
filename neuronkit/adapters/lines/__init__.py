"""Line recognisers: images of one height and any width, read by convolutions, recurrent layers and CTC."""
