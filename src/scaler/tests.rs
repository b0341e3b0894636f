//! The scaler over a scripted provider, in virtual time.

mod cold;
mod fake;
mod moved;
mod threads;
mod warm;
mod watched;
