//! A guest of the tests and the bench: every function has one ready instance, and nobody is asked.

use wicketgate_sdk::{Provider, Result, ServiceStatus, export_provider};

struct Constant;

impl Provider for Constant {
    fn open() -> Result<Self> {
        Ok(Self)
    }

    fn get_replicas(&self, _service: &str, _namespace: &str) -> Result<ServiceStatus> {
        Ok(ServiceStatus { replicas: 1, available_replicas: 1, ..ServiceStatus::default() })
    }

    fn set_replicas(&self, _service: &str, _namespace: &str, _count: u64) -> Result<()> {
        Ok(())
    }
}

export_provider! {
    Constant,
    exports: [],
    name: "constant",
    description: "Every function has one ready instance",
    grants: {},
    config: {},
}
