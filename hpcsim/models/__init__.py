"""Models: one file each, with a frozen `Params` and `build(params) -> System`."""
