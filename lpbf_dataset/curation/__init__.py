"""What is known of each case, which cases are kept, and how they are split."""
