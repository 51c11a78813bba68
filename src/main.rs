//! The `voxgate` binary: arguments in, exit code out.

use std::process::ExitCode;

fn main() -> ExitCode {
    voxgate::cli::run(std::env::args_os())
}
