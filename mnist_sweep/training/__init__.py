"""What a trial is on the device: models, compiled steps, and the contact with tinygrad."""
