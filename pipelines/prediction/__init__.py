"""What a trained model makes of a part that is in no store: what ``lpbf-predict`` does."""
