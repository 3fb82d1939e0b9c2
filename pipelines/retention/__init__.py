"""What is removed from the state folder and the stores, and what is kept and why."""
