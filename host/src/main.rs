//! The binary; everything else is the library.

fn main() -> std::process::ExitCode {
    sagabox::cli::main()
}
