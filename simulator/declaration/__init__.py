"""What a modeler declares, checked and turned into tables. Knows YAML's meaning; knows no engine."""
