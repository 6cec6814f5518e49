"""The optimisers and the loop that alternates them; they need neither pytest nor a disk."""
