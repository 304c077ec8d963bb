"""Who is at the page where strangers share it, what is theirs, and what they may ask for."""
