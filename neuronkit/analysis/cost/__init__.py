"""`estimate` and `compare_costs`: lower bounds of time and price on each chip."""
