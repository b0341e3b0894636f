//! OpenFaaS's environment variables.
