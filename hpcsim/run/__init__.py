"""How a run goes: config, plan, schedule, execution, parallelism, progress."""
