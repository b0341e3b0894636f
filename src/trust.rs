//! What is known of a plugin beyond its bytes: who signed it ([`signature`]), and what it was when the operator last
//! said yes ([`lock`]), and what it really
//! asks its platform for ([`used`]).

pub mod lock;
pub mod signature;
pub mod used;
