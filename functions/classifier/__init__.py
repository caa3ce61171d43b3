"""What runs in Lambda: S3 images in, TensorFlow Lite predictions out."""
