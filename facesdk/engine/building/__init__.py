"""A network as nodes and as the bytes of a .tflite file, with numpy alone: for models/build and optional networks."""
