"""The same training on SageMaker: requests, code archive, and what runs in the container."""
