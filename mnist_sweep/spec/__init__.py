"""From a YAML file to checked trials: reading with line numbers, sections, fields, overrides."""
