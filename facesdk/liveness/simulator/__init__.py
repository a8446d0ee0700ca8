"""What a camera would see, and what people and attackers would do, so that sessions run without either."""
