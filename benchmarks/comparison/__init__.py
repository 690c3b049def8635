"""Everything side by side: the floor, what people do today, ours, growth and real streams."""
