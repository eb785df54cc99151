//! What a plugin writes to standard output and standard error, as lines of its log. A program
//! writes a line in parts, and ends them where its buffer ends and not where a line or a character
//! does; so the parts are joined until the line ends, or the call.

use wasmtime::StoreContextMut;
use wasmtime::component::LinkerInstance;

use super::call_state::CallState;
use super::log::CallLog;

/// By which the adapter for modules of WASI preview 1 writes. It takes bytes, because a part of a
/// line can end within a character. It is not WASI's own interface for this, so that a module that
/// only prints imports no WASI, and serves on a host with `strict` too.
pub(super) const INTERFACE: &str = "sagabox:preview1/output@0.1.0";

/// Output without an end of line becomes a line after so many bytes.
const LINE_BYTES_MAX: usize = 4 << 10;

#[derive(Clone, Copy)]
pub(super) enum Output {
    Stdout,
    Stderr,
}

/// What was written behind the last end of line.
#[derive(Default)]
pub(super) struct OpenLines {
    stdout: Vec<u8>,
    stderr: Vec<u8>,
}

impl OpenLines {
    pub(super) fn write(&mut self, output: Output, bytes: &[u8], log: &mut CallLog) {
        for part in bytes.split_inclusive(|&byte| byte == b'\n') {
            for piece in part.chunks(LINE_BYTES_MAX) {
                let buffer = self.buffer(output);
                buffer.extend_from_slice(piece);
                if buffer.ends_with(b"\n") || buffer.len() >= LINE_BYTES_MAX {
                    let rest = buffer.split_off(buffer.len() - begun_character(buffer));
                    let line = std::mem::replace(buffer, rest);
                    write_line(log, output, &line);
                }
            }
        }
    }

    /// Writes what was left without an end of line.
    pub(super) fn flush(&mut self, log: &mut CallLog) {
        for output in [Output::Stdout, Output::Stderr] {
            let rest = std::mem::take(self.buffer(output));
            write_line(log, output, &rest);
        }
    }

    fn buffer(&mut self, output: Output) -> &mut Vec<u8> {
        match output {
            Output::Stdout => &mut self.stdout,
            Output::Stderr => &mut self.stderr,
        }
    }
}

/// How many bytes at the end begin a character that goes on behind them: at most three.
fn begun_character(bytes: &[u8]) -> usize {
    match std::str::from_utf8(bytes) {
        Err(error) if error.error_len().is_none() => bytes.len() - error.valid_up_to(),
        _ => 0,
    }
}

fn write_line(log: &mut CallLog, output: Output, line: &[u8]) {
    let level = match output {
        Output::Stdout => tracing::Level::INFO,
        Output::Stderr => tracing::Level::WARN,
    };
    log.write(level, &String::from_utf8_lossy(line));
}

pub(super) fn define(interface: &mut LinkerInstance<'_, CallState>) -> wasmtime::Result<()> {
    interface.func_wrap(
        "write",
        |mut store: StoreContextMut<'_, CallState>, (is_error, bytes): (bool, Vec<u8>)| {
            let output = if is_error { Output::Stderr } else { Output::Stdout };
            let state = store.data_mut();
            state.wasi.write(output, &bytes, &mut state.log);
            Ok(())
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(log: &CallLog) -> Vec<&str> {
        log.said().collect()
    }

    #[test]
    fn parts_are_joined_to_lines() {
        let mut log = CallLog::new("p", 1_000, 1 << 20).that_keeps_all();
        let mut lines = OpenLines::default();
        for part in ["one ", "line\ntwo", "\n", "\nopen"] {
            lines.write(Output::Stdout, part.as_bytes(), &mut log);
        }
        lines.write(Output::Stderr, b"other\n", &mut log);
        assert_eq!(said(&log), ["one line", "two", "other"]);
        lines.flush(&mut log);
        lines.flush(&mut log);
        assert_eq!(said(&log), ["one line", "two", "other", "open"]);
    }

    #[test]
    fn a_character_is_not_cut_in_two() {
        let mut log = CallLog::new("p", 1_000, 1 << 20).that_keeps_all();
        let mut lines = OpenLines::default();
        for byte in "a\u{20ac}\n".bytes() {
            lines.write(Output::Stdout, &[byte], &mut log);
        }
        let long = "\u{20ac}".repeat(LINE_BYTES_MAX);
        lines.write(Output::Stdout, long.as_bytes(), &mut log);
        lines.flush(&mut log);
        lines.write(Output::Stdout, b"b\xff\n", &mut log);
        let said = said(&log);
        assert_eq!((said[0], said[said.len() - 1]), ("a\u{20ac}", "b\u{fffd}"));
        assert_eq!(said[1..said.len() - 1].concat(), long);
        assert!(said.iter().all(|line| line.len() < 2 * LINE_BYTES_MAX));
    }
}
