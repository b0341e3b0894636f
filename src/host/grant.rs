//! A grant: what a plugin may reach, as the operator wrote it. Pure data and matching, no I/O.

/// One named permission to send requests somewhere.
#[derive(Clone, Debug)]
pub struct Grant {}
