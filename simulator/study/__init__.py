"""What the investigators would have seen, and computed."""
