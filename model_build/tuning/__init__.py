"""Studies: search for better settings, by as many processes as one likes."""
