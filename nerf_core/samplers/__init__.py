"""Where along a ray a field is looked at: one file a sampler, one interface."""
