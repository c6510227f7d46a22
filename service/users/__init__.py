"""Who the user is: tokens that prove it, the keys that they are checked with, and visitors' own."""
