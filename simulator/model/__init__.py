"""What a modeler declares of patients, treatment and study, checked and turned into tables."""
