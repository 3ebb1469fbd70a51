"""What the backtest is made of: trainings, the world they would have met, strategies, tables, a picture."""
