"""The only place where xarray objects are built, saved and opened."""
