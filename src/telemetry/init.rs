//! Switches logging on. Lines go to standard error, one a line; the level is the settings' and never a regular expression from
//! the environment. What other crates log is kept to warnings, since their texts may hold paths and headers.

use std::io::IsTerminal;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};
use tracing_subscriber::{Layer, fmt};

use super::lines::Lines;
use crate::config::{LogFormat, LogLevel, Logs};

/// Switches logging on for the whole process.
///
/// # Errors
/// When it was switched on before.
pub fn init(logs: &Logs) -> Result<(), TryInitError> {
    let lines = fmt::layer().with_writer(Lines).with_target(false).with_ansi(std::io::stderr().is_terminal());
    // It would be told on standard error, with a macro that panics when that cannot be written either.
    let lines = lines.log_internal_errors(false);
    let lines = match logs.format {
        LogFormat::Pretty => lines.compact().boxed(),
        // Flat: the fields stand beside level and time, where log stores look for them.
        LogFormat::Json => lines.json().flatten_event(true).with_current_span(false).with_span_list(false).boxed(),
    };
    tracing_subscriber::registry().with(lines.with_filter(filter(logs.level))).try_init()?;
    std::panic::set_hook(Box::new(tell_where));
    Ok(())
}

/// A panic is told by its place alone: its text may quote what it broke on, and that may be somebody's data.
fn tell_where(panicked: &std::panic::PanicHookInfo<'_>) {
    let (file, line) = panicked.location().map_or(("", 0), |place| (place.file(), place.line()));
    tracing::error!(file, line, thread = std::thread::current().name().unwrap_or_default(), "panicked");
}

fn filter(level: LogLevel) -> Targets {
    let own = match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    };
    Targets::new().with_default(LevelFilter::WARN.min(own)).with_target("daylily", own)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracing::Level;

    #[test]
    fn other_crates_say_nothing_below_a_warning_whatever_the_level() {
        let filter = filter(LogLevel::Trace);
        assert!(filter.would_enable("daylily::http", &Level::TRACE));
        assert!(filter.would_enable("actix_server", &Level::WARN) && !filter.would_enable("actix_http", &Level::INFO));
        assert!(!super::filter(LogLevel::Error).would_enable("rustls", &Level::WARN));
    }
}
