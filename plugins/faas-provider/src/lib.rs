//! faas-provider
