"""What ``chaoskit doctor`` looks at: one file per group of parts."""
