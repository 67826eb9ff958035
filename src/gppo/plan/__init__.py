"""What a recipe's run will need: memory part by part, work, time, disk, price, and what fits. Needs no torch."""
