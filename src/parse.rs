//! Texts of the configuration that become numbers: durations, byte sizes, switches. A leaf.
