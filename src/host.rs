//! What a plugin may use of the machine: requests to the platform, state, log lines, processes.
//!
//! Nothing here knows a WIT type: `plugin` converts, so that the contract can change without this.

pub mod egress;
pub mod files;
pub mod grant;
pub mod processes;
pub mod state;
