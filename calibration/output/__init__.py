"""Results of a calibration: trees, parameter files, reports, figures."""
