"""What the trials share: a small network of their own, programs in it, content, clients and a foreign wire codec."""
