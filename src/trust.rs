//! What is known of a plugin beyond its bytes: who signed it ([`signature`]).

pub mod signature;
