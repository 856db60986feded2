"""The FLARE family as pure torch modules."""
