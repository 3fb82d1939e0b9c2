"""Who schedules the steps. The steps, the gate and the result are the same everywhere."""
