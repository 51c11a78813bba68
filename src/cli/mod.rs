//! The command line: a file a command. Arguments in, exit code out; everything else is the library's work.

mod bench;
mod check;
mod decode;
mod demo;
mod input;
mod listen;
mod progress;
mod replay;
mod serve;
mod settings;
mod terminal;
#[cfg(test)]
mod tests;
mod token;
mod trust;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{Parser, Subcommand};

use crate::config::ConfigError;

/// Real-time audio ingest: any browser's microphone in over one WebSocket, clean PCM out.
#[derive(Debug, Parser)]
#[command(name = "voxgate", version, propagate_version = true, disable_help_subcommand = true)]
#[command(after_help = "Example:\n  voxgate demo")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Serve(serve::Args),
    Replay(replay::Args),
    Bench(bench::Args),
    Listen(listen::Args),
    Decode(decode::Args),
    Token(token::Args),
    Check(check::Args),
    Demo(demo::Args),
}

/// Why a command did not do what was asked.
#[derive(Debug)]
enum Failure {
    /// The arguments or the configuration are wrong: exit code 2.
    Usage(anyhow::Error),
    /// It went wrong while running: exit code 1.
    Runtime(anyhow::Error),
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::Runtime(error)
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::Usage(error.into())
    }
}

/// Runs the command the arguments name.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            match error.kind() {
                ErrorKind::DisplayHelp
                | ErrorKind::DisplayVersion
                | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
                    // A closed terminal needs no help.
                    let _ = error.print();
                }
                _ => terminal::error(&anyhow::anyhow!(one_line(&error.to_string()))),
            }
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    let outcome = match cli.command {
        Command::Serve(args) => serve::run(&args),
        Command::Replay(args) => replay::run(&args),
        Command::Bench(args) => bench::run(args),
        Command::Listen(args) => listen::run(args),
        Command::Decode(args) => decode::run(&args),
        Command::Token(args) => token::run(args),
        Command::Check(args) => check::run(&args),
        Command::Demo(args) => demo::run(args),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Runtime(error)) => {
            terminal::error(&error);
            ExitCode::from(1)
        }
        Err(Failure::Usage(error)) => {
            terminal::error(&error);
            ExitCode::from(2)
        }
    }
}

/// What clap says of a wrong line, without its label and its repeated usage.
fn one_line(message: &str) -> String {
    let said =
        message.lines().map(str::trim).take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more"));
    let said: Vec<&str> = said.filter(|line| !line.is_empty()).collect();
    format!("{}; --help shows how", said.join(" ").trim_start_matches("error: "))
}
