//! `daylily`: see `daylily --help`.

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(daylily::cli::run(std::env::args_os()))
}
