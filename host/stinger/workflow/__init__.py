"""What the verbs do, as functions: each joins the rooms into one job, and the command line only calls it."""
