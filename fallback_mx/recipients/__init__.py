"""What is known of recipients: lists from outside, lessons from the primary, and the book that answers from both."""
