"""The whole declaration: validated, solved and compiled to tables; explained in words."""
