"""What an SOP can do: one file per action, found by its name as faults are."""
