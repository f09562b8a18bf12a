"""Commands run as processes of their own, none of which outlives us; for the demo and the study."""
