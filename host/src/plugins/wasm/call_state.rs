//! The state of one instance of a component, which its imports reach.

use super::log::CallLog;
use super::sandbox::Usage;
use super::wasi::Wasi;

pub(crate) struct CallState {
    pub(super) usage: Usage,
    pub(super) log: CallLog,
    pub(super) wasi: Wasi,
}

impl CallState {
    pub(super) fn end_call(&mut self) {
        self.wasi.flush(&mut self.log);
        self.log.end_call();
    }
}
