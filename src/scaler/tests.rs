//! The scaler over a scripted provider, in virtual time.

mod cold;
mod fake;
mod warm;
mod watched;
