//! `wicketgate:host/state`.

use wasmtime::Result;

use super::super::bindings::host::state as wit;
use super::super::convert::host as convert;
use super::HostState;

impl wit::Host for HostState {
    fn get(&mut self, key: String) -> Result<Result<Option<wit::Entry>, wit::StateError>> {
        self.shared.uses("state.get");
        let found = self.state.get(&key);
        Ok(found.map(|found| found.as_ref().map(convert::entry)).map_err(convert::state_error))
    }

    fn put(&mut self, key: String, value: Vec<u8>, expected: wit::Expectation) -> Result<Result<u64, wit::StateError>> {
        self.shared.uses("state.put");
        Ok(self.state.put(&key, &value, convert::expectation(expected)).map_err(convert::state_error))
    }

    fn delete(&mut self, key: String, expected: wit::Expectation) -> Result<Result<(), wit::StateError>> {
        self.shared.uses("state.delete");
        Ok(self.state.delete(&key, convert::expectation(expected)).map_err(convert::state_error))
    }

    fn list(
        &mut self,
        prefix: String,
        cursor: Option<String>,
        limit: u32,
    ) -> Result<Result<wit::KeyPage, wit::StateError>> {
        self.shared.uses("state.list");
        Ok(Ok(convert::key_page(self.state.list(&prefix, cursor.as_deref(), limit as usize))))
    }
}
